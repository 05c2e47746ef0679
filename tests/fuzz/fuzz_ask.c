/* Invariant: whatever is said at the door, an ask ends: with a result of its kind, its body inside its room and whole, or with an
 * errno that is one; and every descriptor that came is the asker's or closed.
 *
 * The kernel is played: a call of the layer's is answered from the fuzzer's octets.
 *
 * Sources: native/fault.c
 */
#include "layer/preload/raw.h"

#undef raw_call
#define raw_call played
static long played(long n, long a, long b, long c, long d, long e, long f);

#include "layer/preload/ask.c"

#include <stdint.h>
#include <stdlib.h>

enum { FDS = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static struct {
    const uint8_t *at;
    size_t left;
    bool open[FDS];
    int count;
} kernel;

static unsigned next(void) {
    if (kernel.left == 0)
        return 0;
    kernel.left--;
    return *kernel.at++;
}

/* The lowest that is free, from `least` on. */
static long opened(int least) {
    for (int fd = least; fd < FDS; fd++)
        if (!kernel.open[fd]) {
            kernel.open[fd] = true;
            kernel.count++;
            return fd;
        }
    return -EMFILE;
}

static long closed(long fd) {
    if (fd < 0 || fd >= FDS || !kernel.open[fd])
        abort();
    kernel.open[fd] = false;
    kernel.count--;
    return 0;
}

static long failing(void) {
    static const int some[] = {EINTR, EAGAIN, ECONNREFUSED, EMFILE, EPIPE, EPERM};
    return -some[next() % (sizeof some / sizeof *some)];
}

/* recvmsg(2): a packet of some length, perhaps cut, perhaps with a descriptor. */
static long packet(struct msghdr *m) {
    uint8_t octets[1024];
    size_t len = (next() | next() << 8) % sizeof octets, room = 0, done = 0;
    for (size_t i = 0; i < len; i++)
        octets[i] = (uint8_t)next();
    if (len >= 4 && next() % 2)
        memcpy(octets, &(int32_t){(int)(next() % 3) * (int)len}, 4);
    for (size_t i = 0; i < m->msg_iovlen; i++) {
        size_t part = len - done < m->msg_iov[i].iov_len ? len - done : m->msg_iov[i].iov_len;
        memcpy(m->msg_iov[i].iov_base, octets + done, part);
        done += part;
        room += m->msg_iov[i].iov_len;
    }
    m->msg_flags = len > room ? MSG_TRUNC : 0;
    m->msg_flags |= next() % 8 == 0 ? MSG_CTRUNC : 0;
    long fd = next() % 2 ? opened(0) : -1;
    struct cmsghdr *head = m->msg_control;
    if (fd < 0) {
        m->msg_controllen = 0;
        return (long)done;
    }
    *head = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(head), &(int){(int)fd}, sizeof(int));
    return (long)done;
}

static long played(long n, long a, long b, long c, long d, long e, long f) {
    (void)d, (void)e, (void)f;
    if (n == SYS_close)
        return closed(a);
    if (next() % 16 == 15)
        return failing();
    switch (n) {
    case SYS_socket:
        return opened(0);
    case SYS_fcntl:
        return opened((int)c);
    case SYS_recvmsg:
        return packet((struct msghdr *)(uintptr_t)b);
    default: /* connect, sendmsg */
        return 0;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    uint8_t *body = malloc(512);
    kernel.at = p;
    kernel.left = n;
    struct ask a = {.path = "/x", .second = "y", .body = body, .room = (next() << 1) % 512};
    a.head.op = (uint16_t)(1 + next() % (DOOR_OPS - 1));
    if (a.head.op == DOOR_STAT)
        a.room = sizeof(struct statx);
    int result = ask_door(&a);
    if (a.got > a.room && result >= 0)
        abort();
    if (result < 0 && (errno <= 0 || errno > 4095 || a.fd >= 0))
        abort();
    if (result >= 0 && (a.fd >= 0) != (a.head.op == DOOR_OPEN || a.head.op == DOOR_WATCH))
        abort();
    if (a.fd >= 0)
        closed(a.fd);
    if (kernel.count != 0)
        abort();
    free(body);
    return 0;
}
