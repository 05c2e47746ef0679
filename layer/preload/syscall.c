/* syscall(2), for those who call the kernel by number through libc. */
#include "hook.h"

#include <stdarg.h>
#include <stdint.h>
#include <unistd.h>

#include "libc.h"

#define TEXT(i)  ((const char *)(uintptr_t)a[i])
#define THING(i) ((void *)(uintptr_t)a[i])

EXPORT long syscall(long n, ...) {
    long a[6];
    va_list list;
    va_start(list, n);
    for (int i = 0; i < 6; i++) /* as libc's: what was not given is not looked at */
        a[i] = va_arg(list, long);
    va_end(list);
    switch (n) {
    case SYS_chdir:
        return chdir(TEXT(0));
    case SYS_fchdir:
        return fchdir((int)a[0]);
    case SYS_execve:
        return execve(TEXT(0), THING(1), THING(2));
    case SYS_execveat:
        return execveat((int)a[0], TEXT(1), THING(2), THING(3), (int)a[4]);
    default:
        return call_by_rules(n, a);
    }
}
