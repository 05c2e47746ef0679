/* syscall(2) for those who call the kernel by number through libc: Node's libuv (statx), and programs that are newer than the
 * libc they were built with. What has no path of its own goes through as it came. */
#include "hook.h"
#include "open.h"
#include "stat.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

#include "libc.h"

/* Only what openat(2) could say too; with `resolve` the caller is careful about his own tree, and the kernel answers him. */
static long by_how(int dirfd, const char *path, const struct open_how *how, size_t size) {
    if (!how || size < sizeof *how || how->resolve || how->flags >> 31)
        return raw(SYS_openat2, dirfd, path, how, size);
    return open_by_rules(dirfd, path, (int)how->flags, (mode_t)how->mode);
}

#define TEXT(i)   ((const char *)(uintptr_t)a[i])
#define THING(i)  ((void *)(uintptr_t)a[i])
#define NUMBER(i) ((int)a[i])

static long by_number(long n, const long a[6]) {
    switch (n) {
    case SYS_openat:
        return open_by_rules(NUMBER(0), TEXT(1), NUMBER(2), (mode_t)a[3]);
    case SYS_openat2:
        return by_how(NUMBER(0), TEXT(1), THING(2), (size_t)a[3]);
    case SYS_newfstatat:
        return stat_by_rules(NUMBER(0), TEXT(1), THING(2), NUMBER(3));
    case SYS_statx:
        return statx(NUMBER(0), TEXT(1), NUMBER(2), (unsigned)a[3], THING(4));
    case SYS_faccessat:
        return faccessat(NUMBER(0), TEXT(1), NUMBER(2), 0);
#ifdef SYS_faccessat2
    case SYS_faccessat2:
        return faccessat(NUMBER(0), TEXT(1), NUMBER(2), NUMBER(3));
#endif
    case SYS_readlinkat:
        return readlinkat(NUMBER(0), TEXT(1), THING(2), (size_t)a[3]);
    case SYS_mkdirat:
        return mkdirat(NUMBER(0), TEXT(1), (mode_t)a[2]);
    case SYS_unlinkat:
        return unlinkat(NUMBER(0), TEXT(1), NUMBER(2));
    case SYS_renameat2:
        return renameat2(NUMBER(0), TEXT(1), NUMBER(2), TEXT(3), (unsigned)a[4]);
    case SYS_chdir:
        return chdir(TEXT(0));
    case SYS_fchdir:
        return fchdir(NUMBER(0));
    default:
        return raw(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    }
}

EXPORT long syscall(long n, ...) {
    long a[6];
    va_list list;
    va_start(list, n);
    for (int i = 0; i < 6; i++) /* as libc's: what was not given is not looked at */
        a[i] = va_arg(list, long);
    va_end(list);
    return by_number(n, a);
}
