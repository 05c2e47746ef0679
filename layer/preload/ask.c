#include "ask.h"

#include "place.h"
#include "raw.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "libc.h"

static int dial(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, DOOR_NAME, DOOR_NAME_LEN);
    int fd = (int)raw(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    long done;
    do
        done = raw(SYS_connect, fd, &name, offsetof(struct sockaddr_un, sun_path) + DOOR_NAME_LEN);
    while (done < 0 && errno == EINTR);
    if (done == 0)
        return fd;
    raw(SYS_close, fd);
    errno = EIO; /* the session has ended */
    return -1;
}

union control {
    struct cmsghdr align;
    char octets[CMSG_SPACE(sizeof(int))];
};

static void give(struct msghdr *packet, union control *control, int fd) {
    packet->msg_control = control->octets;
    packet->msg_controllen = sizeof control->octets;
    struct cmsghdr *c = CMSG_FIRSTHDR(packet);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
}

static bool sent(int sock, struct ask *a) {
    size_t path = strlen(a->path), second = a->second ? strlen(a->second) : 0;
    if (path > DOOR_PATH || second > DOOR_PATH) {
        errno = ENAMETOOLONG;
        return false;
    }
    a->head.version = DOOR_VERSION;
    a->head.path_len = (uint16_t)path;
    a->head.second_len = (uint16_t)second;
    struct iovec parts[] = {
        {&a->head, sizeof a->head},
        {(void *)(uintptr_t)a->path, path},
        {(void *)(uintptr_t)a->second, second},
        {(void *)(uintptr_t)a->value, a->head.value_len},
    };
    struct msghdr packet = {.msg_iov = parts, .msg_iovlen = 4};
    union control control = {0};
    if (a->give)
        give(&packet, &control, *a->give);
    long n;
    do
        n = raw(SYS_sendmsg, sock, &packet, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        errno = EIO;
    return n >= 0;
}

static int descriptor(struct msghdr *packet) {
    struct cmsghdr *c = CMSG_FIRSTHDR(packet);
    int fd = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

static bool received(int sock, struct ask *a, struct door_answer *head) {
    union control control = {0};
    struct iovec parts[] = {{head, sizeof *head}, {a->body, a->room}};
    struct msghdr packet = {.msg_iov = parts,
                            .msg_iovlen = 2,
                            .msg_control = control.octets,
                            .msg_controllen = sizeof control.octets};
    long n;
    do
        n = raw(SYS_recvmsg, sock, &packet, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    a->fd = n >= 0 ? descriptor(&packet) : -1; /* an empty packet may carry one */
    if (n < (long)sizeof *head || packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        errno = n >= 0 && packet.msg_flags & MSG_CTRUNC ? EMFILE : EIO;
        return false;
    }
    a->got = (size_t)n - sizeof *head;
    return true;
}

/* open(2) gives the lowest descriptor that is free, and that is what the socket had. */
static int lowest(int fd) {
    int low = (int)raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0);
    if (low < 0)
        return fd;
    raw(SYS_close, fd);
    return low;
}

/* Whether it can be the answer to this: the door is ours, but whoever holds its name has said it. */
static bool is_sound(const struct ask *a, const struct door_answer *head) {
    if (head->result < 0)
        return head->result >= -4095;
    switch ((enum door_op)a->head.op) {
    case DOOR_OPEN:
    case DOOR_WATCH:
        return a->fd >= 0;
    case DOOR_STAT:
        return a->fd < 0 && a->got == sizeof(struct statx);
    case DOOR_STATFS:
        return a->fd < 0 && a->got == sizeof(struct door_statfs);
    case DOOR_GETXATTR:
    case DOOR_LISTXATTR: /* without room its length alone was asked for */
        return a->fd < 0 && (a->room == 0 || a->got == (size_t)head->result);
    default:
        return a->fd < 0;
    }
}

int ask_door(struct ask *a) {
    int before = errno;
    struct door_answer head = {0};
    a->fd = -1;
#ifdef LAYER_FOR_OTHERS
    place_waits();
#endif
    int sock = dial();
    if (sock < 0)
        return -1;
    bool answered = sent(sock, a) && received(sock, a, &head);
    int why = errno;
    raw(SYS_close, sock);
    if (answered && !is_sound(a, &head)) {
        answered = false;
        why = EIO;
    }
    if (answered && head.result >= 0) {
        if (a->fd >= 0)
            a->fd = lowest(a->fd);
        errno = before;
        return head.result;
    }
    if (a->fd >= 0)
        raw(SYS_close, a->fd);
    a->fd = -1;
    errno = answered ? -head.result : why;
    return -1;
}
