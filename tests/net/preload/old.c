/* A kernel as it was in Linux 5.5: a program under a filter that says of younger calls and flags what that kernel said.
 *
 * usage: old PROGRAM ARGUMENTS... */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "layer/preload/seccomp.h"

#define REFUSED(err)  BPF_RETURN(0x00050000u | (err)) /* SECCOMP_RET_ERRNO */
#define NUMBER        BPF_LOAD(offsetof(struct seccomp_data, nr))
#define SECOND        BPF_LOAD(offsetof(struct seccomp_data, args[1]))
#define MISSING(call) BPF_EQUAL(call, 0, 1), REFUSED(ENOSYS)
/* That call with that second argument is EINVAL. */
#define UNKNOWN(call, word)                                                                        \
    BPF_EQUAL(call, 0, 4), SECOND, BPF_EQUAL(word, 0, 1), REFUSED(EINVAL), NUMBER

int main(int argc, char **argv) {
    const struct sock_filter code[] = {
        NUMBER,
        MISSING(437), /* openat2, 5.6 */
        MISSING(439), /* faccessat2, 5.8 */
        MISSING(441), /* epoll_pwait2, 5.11 */
        MISSING(452), /* fchmodat2, 6.6 */
        UNKNOWN(SYS_seccomp, SECCOMP_FILTER_FLAG_NEW_LISTENER |
                                 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV), /* 5.19 */
        UNKNOWN(SYS_ioctl, SECCOMP_IOCTL_NOTIF_SET_FLAGS),                /* 6.6 */
        BPF_RETURN(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        return 97;
    execvp(argv[1], argv + 1);
    return 98;
}
