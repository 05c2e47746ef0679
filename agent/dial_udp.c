/* Datagrams of an app's UDP socket, from an unconnected socket inside the target.
 *
 * Unconnected, because one UDP socket of the app may talk to many peers and be answered from any address; what an
 * unconnected socket does not say by itself, that a peer is unreachable, IP_RECVERR's error queue does (ip(7)), with the
 * peer it is about. */
#include "agent/dial_assoc.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DATAGRAM_MAX      65536
#define DATAGRAMS_AT_ONCE (DIAL_SCRATCH / DATAGRAM_MAX)
#define ERRORS_AT_ONCE    16

/* The error queue, whole up to a bound: each entry names the peer its datagram was for. */
static void tell_errors(struct assoc_socket *s) {
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
                channel_unreachable(&s->owner->channel, &to, (int)e.ee_errno);
        }
    }
}

static void take_datagrams(struct assoc_socket *s) {
    struct assoc *a = s->owner;
    struct mmsghdr m[DATAGRAMS_AT_ONCE];
    struct iovec iov[DATAGRAMS_AT_ONCE];
    struct sockaddr_storage from[DATAGRAMS_AT_ONCE];
    uint8_t *scratch = a->target->desk->scratch;
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
            assoc_took(a, &peer, iov[i].iov_base, m[i].msg_len);
    }
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

static int make(struct assoc *a, int family) {
    int fd = dial_socket(a->target, family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    if (fd < 0 || (set_options(fd, family) == 0 && bind_any(fd, family) == 0))
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* 0, or the errno of this very datagram. An error left over from another peer is reported by send too, once: it goes to
 * whom the error queue names, and the datagram is sent again. */
static int send_to(struct assoc_socket *s, const struct endpoint *peer, const uint8_t *p,
                   size_t n) {
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

static const struct assoc_kind kind = {
    .make = make, .send = send_to, .errors = tell_errors, .take = take_datagrams, .owned = true};

struct channel *dial_udp(struct target *t, const struct channel_open *o, int *err) {
    struct assoc *a = assoc_open(t, &kind);
    (void)o;
    *err = ENOMEM;
    return a ? &a->channel : NULL;
}
