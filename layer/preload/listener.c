#include "listener.h"

#include "ask.h"
#include "place.h"
#include "raw.h"
#include "seccomp.h"

#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "libc.h"

/* --- the filter ---------------------------------------------------------------------------------------------------------- */

enum call {
#define CALL(name, result, ...) CALL_##name,
#include "notified.def"
#undef CALL
    CALLS
};

#define WORD(member, half) (offsetof(struct seccomp_data, member) + 4 * (half))

/* The calls of notified.def, unless the layer has decided already. Other machines' calls pass: there is no layer of theirs. What
 * no argument decides about, the kernel knows without running this (since Linux 5.11). */
static const struct sock_filter filter[] = {
    BPF_LOAD(offsetof(struct seccomp_data, arch)),
    BPF_EQUAL(AUDIT_ARCH, 0, CALLS + 1),
    BPF_LOAD(offsetof(struct seccomp_data, nr)),
#define CALL(name, result, ...) BPF_EQUAL(SYS_##name, CALLS - CALL_##name, 0),
#include "notified.def"
#undef CALL
    BPF_RETURN(SECCOMP_RET_ALLOW),
    BPF_LOAD(WORD(args[5], 0)),
    BPF_EQUAL((uint32_t)RAW_DECIDED, 0, 3),
    BPF_LOAD(WORD(args[5], 1)),
    BPF_EQUAL((uint64_t)RAW_DECIDED >> 32, 0, 1),
    BPF_RETURN(SECCOMP_RET_ALLOW),
    BPF_RETURN(SECCOMP_RET_USER_NOTIF),
};

_Static_assert(CALLS + 1 <= UINT8_MAX, "a jump is at most so far");

/* The listener, or -1. With the right to (CAP_SYS_ADMIN) nothing else changes; without it no_new_privs must be set first.
 * WAIT_KILLABLE_RECV: a signal does not break off what has been begun, which would be done twice. */
static int install(void) {
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    int fd = (int)raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd < 0 && errno == EINVAL) {
        flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
        fd = (int)raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    }
    if (fd < 0 && errno == EACCES && raw(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1L, 0L, 0L, 0L) == 0)
        fd = (int)raw(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return fd;
}

/* --- its supervisor ------------------------------------------------------------------------------------------------------ */

static bool ready(int sock) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, LISTENER_NAME, LISTENER_NAME_LEN);
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + LISTENER_NAME_LEN;
    char word = 0;
    long n;
    do
        n = raw(SYS_connect, sock, &name, len);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return false;
    do
        n = raw(SYS_recvfrom, sock, &word, 1L, 0L, 0L, 0L);
    while (n < 0 && errno == EINTR);
    return n == 1 && word == LISTENER_READY;
}

static void give(int sock, int listener) {
    union {
        struct cmsghdr align;
        char octets[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char word = LISTENER_READY;
    struct iovec part = {&word, 1};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.octets,
                            .msg_controllen = sizeof control.octets};
    struct cmsghdr *c = CMSG_FIRSTHDR(&packet);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &listener, sizeof listener);
    while (raw(SYS_sendmsg, sock, &packet, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

/* EBUSY: there is one already, and it is ours, unless the app has a listener of its own. */
static bool supervised(void) {
    int sock = (int)raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (sock < 0)
        return false;
    bool done = false;
    if (ready(sock)) {
        int listener = install();
        done = listener >= 0 || errno == EBUSY;
        if (listener >= 0) {
            give(sock, listener);
            raw(SYS_close, listener);
        }
    }
    raw(SYS_close, sock);
    return done;
}

static void count(const char *path) {
    struct ask a = {.path = *path == '/' ? path : "/"};
    a.head.op = DOOR_WITHOUT_LAYER;
    ask_door(&a);
}

/* Whether LD_PRELOAD, as it will be, names the layer: who cleans a program's environment (env -i, su -, tox) takes it away. */
static bool brings_layer(char *const *environment) {
    static const char variable[] = "LD_PRELOAD=";
    for (; environment && *environment; environment++)
        if (strncmp(*environment, variable, sizeof variable - 1) == 0)
            return strstr(*environment, "/layer.so") != NULL;
    return false;
}

static enum program kind_of(int dirfd, const char *path, char *const *environment) {
    enum program kind = program_at(dirfd, path);
    return kind == PROGRAM_LAYERED && !brings_layer(environment) ? PROGRAM_BARE : kind;
}

bool listener_wanted(int dirfd, const char *path, char *const *environment) {
    enum program kind = kind_of(dirfd, path, environment);
    return kind == PROGRAM_FOREIGN || kind == PROGRAM_BARE;
}

void listener_before(int dirfd, const char *path, char *const *environment) {
    int before = errno;
    if (!place_active())
        return;
    enum program kind = kind_of(dirfd, path, environment);
    if (kind == PROGRAM_FOREIGN || (kind == PROGRAM_BARE && !supervised()))
        count(path);
    errno = before;
}
