/* syscall(2), for those who call the kernel by number through libc. */
#include "hook.h"

#include <stdarg.h>
#include <stdint.h>

#include "libc.h"

EXPORT long syscall(long n, ...) {
    long a[6];
    va_list list;
    va_start(list, n);
    for (int i = 0; i < 6; i++) /* as libc's: what was not given is not looked at */
        a[i] = va_arg(list, long);
    va_end(list);
    switch (n) {
    case SYS_chdir:
        return chdir((const char *)(uintptr_t)a[0]);
    case SYS_fchdir:
        return fchdir((int)a[0]);
    default:
        return call_by_rules(n, a);
    }
}
