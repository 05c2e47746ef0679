/* One association of an app's UDP socket: at most one unconnected socket per address family inside the target.
 *
 * Unconnected, because one UDP socket of the app may talk to many peers and be answered from any address; what an
 * unconnected socket does not say by itself, that a peer is unreachable, IP_RECVERR's error queue does (ip(7)), with the
 * peer it is about. Datagrams have no credit: what does not fit the socket's buffer is lost, as on any network.
 *
 * Bound: two sockets an association; DIAL_IDLE without traffic ends it. */
#include "agent/dial.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_MAX      65536
#define DATAGRAMS_AT_ONCE (DIAL_SCRATCH / DATAGRAM_MAX)
#define ERRORS_AT_ONCE    16

struct dial_udp;

struct socket_udp {
    struct loop_fd io; /* fd -1: not made yet */
    struct dial_udp *owner;
    struct own *own;
};

struct dial_udp {
    struct channel channel;
    struct dial dial;
    struct target *target;
    struct socket_udp v4, v6;
    struct timer idle;
    uint64_t used; /* ns */
};

static struct loop *loop_of(const struct dial_udp *d) {
    return d->target->desk->loop;
}

static void close_socket(struct dial_udp *d, struct socket_udp *s) {
    if (s->io.fd < 0)
        return;
    loop_del(loop_of(d), &s->io);
    close(s->io.fd);
    own_remove(d->target->own, s->own, loop_now(loop_of(d)));
    s->io.fd = -1;
}

static void destroy(struct dial_udp *d) {
    close_socket(d, &d->v4);
    close_socket(d, &d->v6);
    timer_cancel(loop_of(d), &d->idle);
    dial_leave(&d->dial);
    free(d);
}

static void drop(struct dial *self, int err) {
    struct dial_udp *d = container_of(self, struct dial_udp, dial);
    channel_reset(&d->channel, err);
    destroy(d);
}

static void grew_idle(struct timer *t) {
    struct dial_udp *d = container_of(t, struct dial_udp, idle);
    if (loop_now(loop_of(d)) - d->used >= DIAL_IDLE)
        drop(&d->dial, 0);
    else
        timer_set(loop_of(d), t, d->used + DIAL_IDLE);
}

/* The error queue, whole up to a bound: each entry names the peer its datagram was for. */
static void tell_errors(struct socket_udp *s) {
    struct dial_udp *d = s->owner;
    for (int i = 0; i < ERRORS_AT_ONCE; i++) {
        struct sockaddr_storage peer;
        union {
            struct cmsghdr head;
            uint8_t room[512];
        } control;
        struct msghdr m = {.msg_name = &peer,
                           .msg_namelen = sizeof peer,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
        if (recvmsg(s->io.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
            bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
            struct sock_extended_err e;
            struct endpoint to;
            if ((!v4 && !v6) || c->cmsg_len < CMSG_LEN(sizeof e))
                continue;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            if (e.ee_origin == SO_EE_ORIGIN_LOCAL)
                continue; /* what sendto itself answered, without the peer's port */
            if (m.msg_namelen && endpoint_from_sockaddr((struct sockaddr *)&peer, &to))
                channel_unreachable(&d->channel, &to, (int)e.ee_errno);
        }
    }
}

static void take_datagrams(struct socket_udp *s) {
    struct dial_udp *d = s->owner;
    struct mmsghdr m[DATAGRAMS_AT_ONCE];
    struct iovec iov[DATAGRAMS_AT_ONCE];
    struct sockaddr_storage from[DATAGRAMS_AT_ONCE];
    uint8_t *scratch = d->target->desk->scratch;
    for (size_t i = 0; i < DATAGRAMS_AT_ONCE; i++) {
        iov[i] = (struct iovec){scratch + i * DATAGRAM_MAX, DATAGRAM_MAX};
        m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i],
                                            .msg_iovlen = 1,
                                            .msg_name = &from[i],
                                            .msg_namelen = sizeof from[i]}};
    }
    /* A negative answer is a pending error that tell_errors has told, or nothing to read. */
    int n = recvmmsg(s->io.fd, m, DATAGRAMS_AT_ONCE, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++) {
        struct endpoint peer;
        if (endpoint_from_sockaddr((struct sockaddr *)&from[i], &peer))
            channel_datagram(&d->channel, &peer, iov[i].iov_base, m[i].msg_len);
    }
    d->used = loop_now(loop_of(d));
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct socket_udp *s = container_of(self, struct socket_udp, io);
    if (events & EPOLLERR)
        tell_errors(s);
    take_datagrams(s);
}

static int bind_any(int fd, int family) {
    if (family == 4) {
        struct sockaddr_in any = {.sin_family = AF_INET};
        return bind(fd, (struct sockaddr *)&any, sizeof any);
    }
    struct sockaddr_in6 any = {.sin6_family = AF_INET6};
    return bind(fd, (struct sockaddr *)&any, sizeof any);
}

static int set_options(int fd, int family) {
    int one = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one) < 0)
        return -1; /* the app's own socket was asked before: its kernel has refused what it had to refuse */
    if (family == 4)
        return setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof one);
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one) < 0)
        return -1;
    return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof one);
}

/* 0, or an errno. */
static int open_socket(struct dial_udp *d, struct socket_udp *s, int family) {
    struct fault f;
    int fd = dial_socket(d->target, family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0)
        return errno;
    if (set_options(fd, family) < 0 || bind_any(fd, family) < 0) {
        int err = errno;
        close(fd);
        return err;
    }
    s->io.fd = fd;
    if (loop_add(loop_of(d), &s->io, EPOLLIN, &f) < 0) {
        close(fd);
        s->io.fd = -1;
        return f.err;
    }
    s->own = dial_own(d->target, fd);
    return 0;
}

/* 0, or the errno of this very datagram. An error left over from another peer is reported by send too, once: it goes to
 * whom the error queue names, and the datagram is sent again. */
static int send_to(struct socket_udp *s, const struct endpoint *peer, const uint8_t *p, size_t n) {
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(peer, &sa);
    for (int attempt = 0; attempt < 2; attempt++) {
        if (sendto(s->io.fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&sa, len) >= 0)
            return 0;
        if (errno == EAGAIN || errno == ENOBUFS)
            return 0; /* lost, as a full queue loses it */
        if (attempt == 0)
            tell_errors(s);
    }
    return errno;
}

static void on_datagram(struct channel *c, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    struct dial_udp *d = container_of(c, struct dial_udp, channel);
    struct socket_udp *s = peer->addr.family == 4 ? &d->v4 : &d->v6;
    int err = s->io.fd < 0 ? open_socket(d, s, peer->addr.family) : 0;
    d->used = loop_now(loop_of(d));
    if (!err)
        err = send_to(s, peer, p, n);
    if (err)
        channel_unreachable(c, peer, err);
}

static void on_eof(struct channel *c) {
    channel_eof(c);
    destroy(container_of(c, struct dial_udp, channel));
}

static void on_reset(struct channel *c, int err) {
    (void)err;
    destroy(container_of(c, struct dial_udp, channel));
}

static const struct channel_ops ops = {.datagram = on_datagram, .eof = on_eof, .reset = on_reset};

struct channel *dial_udp(struct target *t, const struct channel_open *o, int *err) {
    (void)o;
    struct dial_udp *d = calloc(1, sizeof *d);
    if (!d) {
        *err = ENOMEM;
        return NULL;
    }
    d->target = t;
    d->v4 = (struct socket_udp){.io = {.fd = -1, .ready = ready}, .owner = d};
    d->v6 = (struct socket_udp){.io = {.fd = -1, .ready = ready}, .owner = d};
    d->used = loop_now(t->desk->loop);
    d->idle.fire = grew_idle;
    timer_set(t->desk->loop, &d->idle, d->used + DIAL_IDLE);
    dial_join(t, &d->dial, drop);
    channel_accept(&d->channel, &ops, DIAL_WINDOW);
    return &d->channel;
}
