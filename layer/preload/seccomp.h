/* linux/seccomp.h, linux/filter.h and linux/audit.h as far as they are needed: musl's headers come without the kernel's.
 * The layouts are the kernel's promise (seccomp(2), seccomp_unotify(2)). */
#pragma once

#include <stdint.h>
#include <sys/ioctl.h>

struct seccomp_data {
    int32_t nr;
    uint32_t arch;
    uint64_t instruction_pointer;
    uint64_t args[6];
};

struct seccomp_notif {
    uint64_t id;
    uint32_t pid; /* of the thread, in the reader's pid namespace; 0: it is in none below it */
    uint32_t flags;
    struct seccomp_data data;
};

struct seccomp_notif_resp {
    uint64_t id;
    int64_t val;
    int32_t error;
    uint32_t flags;
};

struct seccomp_notif_addfd {
    uint64_t id;
    uint32_t flags, srcfd, newfd, newfd_flags;
};

struct sock_filter {
    uint16_t code;
    uint8_t jt, jf;
    uint32_t k;
};

struct sock_fprog {
    uint16_t len;
    const struct sock_filter *filter;
};

#define SECCOMP_SET_MODE_FILTER  1
#define SECCOMP_GET_ACTION_AVAIL 2

#define SECCOMP_FILTER_FLAG_NEW_LISTENER       (1u << 3)
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1u << 5) /* Linux 5.19 */

#define SECCOMP_RET_USER_NOTIF 0x7fc00000u
#define SECCOMP_RET_ALLOW      0x7fff0000u

#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1u
#define SECCOMP_ADDFD_FLAG_SETFD         1u
#define SECCOMP_ADDFD_FLAG_SEND          2u /* Linux 5.14 */

#define SECCOMP_IOCTL_NOTIF_RECV     _IOWR('!', 0, struct seccomp_notif)
#define SECCOMP_IOCTL_NOTIF_SEND     _IOWR('!', 1, struct seccomp_notif_resp)
#define SECCOMP_IOCTL_NOTIF_ID_VALID _IOW('!', 2, uint64_t)
#define SECCOMP_IOCTL_NOTIF_ADDFD    _IOW('!', 3, struct seccomp_notif_addfd)

/* Linux 6.6: caller and supervisor take turns on one processor. */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS      _IOW('!', 4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ul

/* Classic BPF: load a word of seccomp_data, jump if equal, return. */
#define BPF_LOAD(offset)                                                                           \
    { 0x20, 0, 0, (uint32_t)(offset) }
#define BPF_EQUAL(k, jt, jf)                                                                       \
    { 0x15, jt, jf, (uint32_t)(k) }
#define BPF_RETURN(k)                                                                              \
    { 0x06, 0, 0, k }

#if defined(__x86_64__)
#define AUDIT_ARCH 0xc000003eu
#elif defined(__aarch64__)
#define AUDIT_ARCH 0xc00000b7u
#endif

_Static_assert(sizeof(struct seccomp_notif) == 80 && sizeof(struct seccomp_notif_resp) == 24 &&
                   sizeof(struct seccomp_notif_addfd) == 24 && sizeof(struct sock_filter) == 8,
               "as the kernel has them");
