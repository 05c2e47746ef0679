/* sock_diag(7): listeners by dumps, single connections by look-ups that cost the same however many sockets there are.
 *
 * Facts of the kernel (net/ipv4/inet_diag.c, udp_diag.c) this leans on, each of them tested:
 * a look-up without NLM_F_DUMP finds the exact connection, else the listener its SYN would meet, wildcards and IPv6
 * sockets that take IPv4 included; for UDP, `src` and `dst` of a look-up mean the opposite of what they mean for TCP;
 * a connection that waits in its listener's queue is ESTABLISHED without an inode, and has one once it is accepted;
 * INET_DIAG_SKV6ONLY comes with every IPv6 socket in LISTEN or CLOSE; an unconnected UDP socket is in state CLOSE.
 */
#include "sockdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ANSWER = 32 * 1024, WILDCARD_BOTH = 10 };

struct request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

/* What is done with each socket of an answer. */
struct visit {
    void (*socket)(struct visit *self, const struct inet_diag_msg *m, size_t n);
};

int sockdiag_open(struct fault *f) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    return fd >= 0 ? fd : fault_set(f, errno, "make a sock_diag socket");
}

/* Answers to an earlier request that was given up are told from this one's by the number. */
static uint32_t new_sequence(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)t.tv_nsec ^ (uint32_t)t.tv_sec << 20;
}

static int ask(int fd, struct request *r, uint16_t flags, struct fault *f) {
    r->head = (struct nlmsghdr){
        .nlmsg_len = sizeof *r,
        .nlmsg_type = SOCK_DIAG_BY_FAMILY,
        .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags),
        .nlmsg_seq = new_sequence(),
    };
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, r, sizeof *r, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return fault_set(f, errno, "ask sock_diag");
    return 0;
}

/* One message of an answer: 1: it was the last; 0: go on; -1. A look-up that finds nothing is ENOENT. */
static int take_message(const struct nlmsghdr *h, bool dump, struct visit *v, struct fault *f) {
    if (h->nlmsg_type == NLMSG_DONE)
        return 1;
    if (h->nlmsg_type == NLMSG_ERROR) {
        struct nlmsgerr e;
        if (h->nlmsg_len < NLMSG_LENGTH(sizeof e))
            return fault_set(f, EPROTO, "read sock_diag's answer");
        memcpy(&e, NLMSG_DATA(h), sizeof e);
        return e.error == 0 || e.error == -ENOENT ? 1 : fault_set(f, -e.error, "ask sock_diag");
    }
    if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        return 0;
    v->socket(v, NLMSG_DATA(h), h->nlmsg_len - NLMSG_LENGTH(0));
    return dump ? 0 : 1;
}

static int hear(int fd, const struct request *r, struct visit *v, struct fault *f) {
    _Alignas(struct nlmsghdr) uint8_t answer[ANSWER];
    bool dump = (r->head.nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    for (;;) {
        ssize_t n = recv(fd, answer, sizeof answer, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fault_set(f, errno, "read sock_diag's answer");
        size_t left = (size_t)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)answer; NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left)) {
            int result = h->nlmsg_seq == r->head.nlmsg_seq ? take_message(h, dump, v, f) : 0;
            if (result != 0)
                return result < 0 ? -1 : 0;
        }
    }
}

static struct addr addr_of(uint8_t family, const uint32_t *ip) {
    return family == AF_INET ? addr_v4(ip) : addr_v6(ip);
}

/* --- what listens ------------------------------------------------------------------------------------------------- */

struct list {
    struct visit visit;
    uint8_t proto;
    struct sockdiag_port *out;
    size_t count, capacity;
};

/* Whether an IPv6 socket refuses IPv4. */
static bool v6_only(const struct inet_diag_msg *m, size_t n) {
    size_t left = n - sizeof *m;
    for (const struct rtattr *a = (const struct rtattr *)(m + 1); RTA_OK(a, left);
         a = RTA_NEXT(a, left)) {
        if (a->rta_type == INET_DIAG_SKV6ONLY && RTA_PAYLOAD(a) >= 1)
            return *(const uint8_t *)RTA_DATA(a) != 0;
    }
    return false;
}

static uint64_t rank(const struct sockdiag_port *p) {
    return (uint64_t)p->proto << 32 | (uint64_t)p->port << 16 | (uint64_t)p->family << 8 |
           p->loopback;
}

static void add(struct list *l, const struct sockdiag_port *port) {
    size_t low = 0, high = l->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (rank(&l->out[middle]) < rank(port))
            low = middle + 1;
        else
            high = middle;
    }
    if (low < l->count && rank(&l->out[low]) == rank(port))
        return;
    if (l->count == l->capacity)
        return;
    memmove(&l->out[low + 1], &l->out[low], (l->count - low) * sizeof *l->out);
    l->out[low] = *port;
    l->count++;
}

static void list_socket(struct visit *self, const struct inet_diag_msg *m, size_t n) {
    static const uint8_t any[16], one[16] = {[15] = 1};
    struct list *l = container_of(self, struct list, visit);
    struct addr a = addr_of(m->idiag_family, m->id.idiag_src);
    struct sockdiag_port port = {
        .proto = l->proto, .family = a.family, .port = ntohs(m->id.idiag_sport)};
    if (port.port == 0) /* a UDP socket that is not bound yet */
        return;
    if (a.family == 6 && memcmp(a.ip, any, 16) == 0 && !v6_only(m, n))
        port.family = WILDCARD_BOTH;
    port.loopback = a.family == 4 ? a.ip[0] == 127 : memcmp(a.ip, one, 16) == 0;
    add(l, &port);
}

int sockdiag_listening(int fd, struct sockdiag_port *out, size_t capacity, struct fault *f) {
    static const struct {
        uint8_t proto, family, state;
    } dumps[] = {
        {IPPROTO_TCP, AF_INET, TCP_LISTEN},
        {IPPROTO_TCP, AF_INET6, TCP_LISTEN},
        {IPPROTO_UDP, AF_INET, TCP_CLOSE},
        {IPPROTO_UDP, AF_INET6, TCP_CLOSE},
    };
    struct list l = {.visit.socket = list_socket, .out = out, .capacity = capacity};
    for (size_t i = 0; i < sizeof dumps / sizeof *dumps; i++) {
        l.proto = dumps[i].proto;
        struct request r = {.req = {.sdiag_family = dumps[i].family,
                                    .sdiag_protocol = dumps[i].proto,
                                    .idiag_states = 1u << dumps[i].state}};
        if (ask(fd, &r, NLM_F_DUMP, f) != 0 || hear(fd, &r, &l.visit, f) != 0)
            return -1;
    }
    return (int)l.count;
}

/* --- single sockets ------------------------------------------------------------------------------------------------- */

struct found {
    struct visit visit;
    uint8_t state;  /* 0: nothing */
    uint32_t inode; /* 0: no process has it */
};

static void note_state(struct visit *self, const struct inet_diag_msg *m, size_t n) {
    struct found *found = container_of(self, struct found, visit);
    (void)n;
    found->state = m->idiag_state;
    found->inode = m->idiag_inode;
}

static void put_end(const struct endpoint *e, __be32 *ip, __be16 *port) {
    memcpy(ip, e->addr.ip, e->addr.family == 4 ? 4 : 16);
    *port = htons(e->port);
}

/* The socket that a packet from `peer` to `own` would meet. Its state, 0: none, or -1. */
static int look_up(int fd, uint8_t proto, const struct endpoint *own, const struct endpoint *peer,
                   struct found *found, struct fault *f) {
    struct request r = {.req = {.sdiag_family = own->addr.family == 4 ? AF_INET : AF_INET6,
                                .sdiag_protocol = proto,
                                .idiag_states = ~0u,
                                .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}}};
    struct inet_diag_sockid *id = &r.req.id;
    bool swapped = proto == IPPROTO_UDP;
    put_end(swapped ? peer : own, id->idiag_src, &id->idiag_sport);
    put_end(swapped ? own : peer, id->idiag_dst, &id->idiag_dport);
    *found = (struct found){.visit.socket = note_state};
    if (ask(fd, &r, 0, f) != 0 || hear(fd, &r, &found->visit, f) != 0)
        return -1;
    return found->state;
}

int sockdiag_has_tcp(int fd, const struct endpoint *own, const struct endpoint *peer,
                     struct fault *f) {
    if (own->addr.family != peer->addr.family)
        return 0;
    struct found found;
    int state = look_up(fd, IPPROTO_TCP, own, peer, &found, f);
    return state < 0 ? -1 : state != 0 && state != TCP_LISTEN;
}

int sockdiag_server(int fd, const struct endpoint *own, const struct endpoint *peer,
                    struct fault *f) {
    struct found found;
    switch (look_up(fd, IPPROTO_TCP, own, peer, &found, f)) {
    case -1:
        return -1;
    case 0:
    case TCP_LISTEN:
        return SOCKDIAG_NONE;
    case TCP_SYN_RECV:
        return SOCKDIAG_SHAKING;
    case TCP_ESTABLISHED:
        return found.inode ? SOCKDIAG_ACCEPTED : SOCKDIAG_WAITS;
    default: /* it has begun to close */
        return SOCKDIAG_ACCEPTED;
    }
}

int sockdiag_accepts(int fd, uint8_t proto, const struct endpoint *own, struct fault *f) {
    struct endpoint nobody = {.addr.family = own->addr.family};
    struct found found;
    int state = look_up(fd, proto, own, &nobody, &found, f);
    return state < 0 ? -1 : state != 0;
}

int sockdiag_takes_udp(int fd, const struct endpoint *own, const struct endpoint *peer,
                       struct fault *f) {
    struct found found;
    int state = look_up(fd, IPPROTO_UDP, own, peer, &found, f);
    return state < 0 ? -1 : state != 0;
}
