/* Echo requests of an app's ICMP identifier, from a raw socket inside the target.
 *
 * Raw sockets, because ping sockets are closed to everybody in a fresh network namespace (ping_group_range). The
 * identifier on the wire is one of ours: two apps that chose the same one would get each other's replies in one target.
 * A filter in the kernel lets only echo replies with it through, so that a busy target's ICMP costs nothing here.
 * A datagram's port is the sequence number, its payload what follows the eight octets of the ICMP header (RFC 792, 4443). */
#include "agent/dial_assoc.h"
#include "native/view.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define ICMP_HEADER     8
#define REPLIES_AT_ONCE 16

/* The ICMP message in what a raw socket read: IPv4's comes with its IP header (raw(7)), IPv6's without (RFC 3542). */
static bool icmp_of(int family, const uint8_t **p, size_t *n) {
    size_t head = 0;
    if (family == 4) {
        if (*n < 20)
            return false;
        head = (size_t)((*p)[0] & 15) * 4;
    }
    if (*n < head + ICMP_HEADER)
        return false;
    *p += head;
    *n -= head;
    return true;
}

static uint16_t u16_at(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void take_replies(struct assoc_socket *s) {
    struct assoc *a = s->owner;
    for (int i = 0; i < REPLIES_AT_ONCE; i++) {
        struct sockaddr_storage from;
        socklen_t len = sizeof from;
        struct endpoint peer;
        const uint8_t *p = a->target->desk->scratch;
        ssize_t r = recvfrom(s->io.fd, a->target->desk->scratch, 65536, MSG_DONTWAIT,
                             (struct sockaddr *)&from, &len);
        if (r < 0)
            return;
        size_t n = (size_t)r;
        if (!icmp_of(s->family, &p, &n) || u16_at(p + 4) != a->identifier)
            continue;
        if (!endpoint_from_sockaddr((struct sockaddr *)&from, &peer))
            continue;
        peer.port = u16_at(p + 6);
        assoc_took(a, &peer, p + ICMP_HEADER, n - ICMP_HEADER);
    }
}

/* ICMP errors about our requests. What the queue quotes begins at the ICMP header that we wrote. */
static void tell_errors(struct assoc_socket *s) {
    struct assoc *a = s->owner;
    for (int i = 0; i < REPLIES_AT_ONCE; i++) {
        uint8_t quoted[ICMP_HEADER];
        struct iovec iov = {quoted, sizeof quoted};
        struct sockaddr_storage peer;
        union {
            struct cmsghdr head;
            uint8_t room[512];
        } control;
        struct msghdr m = {.msg_name = &peer,
                           .msg_namelen = sizeof peer,
                           .msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof control};
        ssize_t n = recvmsg(s->io.fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (n < 0)
            return;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        struct sock_extended_err e;
        struct endpoint to;
        if (n < ICMP_HEADER || u16_at(quoted + 4) != a->identifier || !c ||
            c->cmsg_len < CMSG_LEN(sizeof e))
            continue;
        memcpy(&e, CMSG_DATA(c), sizeof e);
        if (e.ee_origin == SO_EE_ORIGIN_LOCAL ||
            !endpoint_from_sockaddr((struct sockaddr *)&peer, &to))
            continue; /* local: what sendmsg itself answered */
        to.port = u16_at(quoted + 6);
        channel_unreachable(&a->channel, &to, (int)e.ee_errno);
    }
}

/* Only echo replies that carry our identifier: classic BPF (linux/Documentation/networking/filter.rst). */
static int filter_v4(int fd, uint16_t identifier) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), /* x = the IP header's length */
        BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHOREPLY, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog);
}

static int filter_v6(int fd, uint16_t identifier) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP6_ECHO_REPLY, 0, 3),
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 4),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, identifier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog prog = {sizeof code / sizeof *code, code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof prog);
}

static int prepare(int fd, int family, uint16_t identifier) {
    int one = 1;
    if ((family == 4 ? filter_v4(fd, identifier) : filter_v6(fd, identifier)) < 0)
        return -1;
    return family == 4 ? setsockopt(fd, IPPROTO_IP, IP_RECVERR, &one, sizeof one)
                       : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &one, sizeof one);
}

static int make(struct assoc *a, int family) {
    int fd = family == 4 ? dial_socket(a->target, AF_INET, SOCK_RAW, IPPROTO_ICMP)
                         : dial_socket(a->target, AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    if (fd < 0 || prepare(fd, family, a->identifier) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* 0, or an errno. The kernel writes ICMPv6's checksum itself (RFC 3542, 3.1), ICMP's not. */
static int send_request(struct assoc_socket *s, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    struct endpoint to = *peer;
    struct sockaddr_storage sa;
    uint16_t id = s->owner->identifier, seq = peer->port;
    uint8_t head[ICMP_HEADER] = {s->family == 4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST,
                                 0,
                                 0,
                                 0,
                                 (uint8_t)(id >> 8),
                                 (uint8_t)id,
                                 (uint8_t)(seq >> 8),
                                 (uint8_t)seq};
    if (s->family == 4) {
        uint16_t sum = checksum_fold(checksum_add(checksum_add(0, head, sizeof head), p, n));
        head[2] = (uint8_t)(sum >> 8);
        head[3] = (uint8_t)sum;
    }
    to.port = 0;
    struct iovec iov[2] = {{head, sizeof head}, {(void *)(uintptr_t)p, n}};
    struct msghdr m = {.msg_name = &sa,
                       .msg_namelen = endpoint_to_sockaddr(&to, &sa),
                       .msg_iov = iov,
                       .msg_iovlen = 2};
    for (int attempt = 0; attempt < 2; attempt++) {
        if (sendmsg(s->io.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno == EAGAIN ||
            errno == ENOBUFS)
            return 0;
        if (attempt == 0)
            tell_errors(s); /* it may be an earlier request's, as in dial_udp.c */
    }
    return errno;
}

static const struct assoc_kind kind = {
    .make = make, .send = send_request, .errors = tell_errors, .take = take_replies};

struct channel *dial_echo(struct target *t, const struct channel_open *o, int *err) {
    struct assoc *a = assoc_open(t, &kind);
    (void)o;
    *err = ENOMEM;
    if (!a)
        return NULL;
    a->identifier = ++t->desk->echo_identifier;
    return &a->channel;
}
