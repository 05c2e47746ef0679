/* See older.h. A dump names each socket by its addresses and a cookie; SOCK_DESTROY takes the same name, so a socket that was closed
 * meanwhile, or its successor, is not hit. */
#include "agent/gate/older.h"

#include "native/sockdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ANSWER = 32 * 1024,
    MANY = 4096 /* destroyed at once; who has more is served on in the old way */
};

struct request {
    struct nlmsghdr head;
    struct inet_diag_req_v2 req;
};

struct found {
    struct inet_diag_sockid id[MANY];
    uint8_t family[MANY];
    int count;
};

int older_open(struct older *o, struct fault *f) {
    o->fd = sockdiag_open(f);
    return o->fd < 0 ? -1 : 0;
}

void older_close(struct older *o) {
    if (o->fd > 0)
        close(o->fd);
}

static int ask(const struct older *o, struct request *r, uint16_t type, uint16_t flags,
               struct fault *f) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    r->head = (struct nlmsghdr){.nlmsg_len = sizeof *r, .nlmsg_type = type, .nlmsg_flags = flags};
    if (sendto(o->fd, r, sizeof *r, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return fault_set(f, errno, "ask for the target's connections");
    return 0;
}

static struct addr addr_of(uint8_t family, const __be32 *ip) {
    return family == AF_INET ? addr_v4(ip) : addr_v6(ip);
}

static bool is_loopback(const struct addr *a) {
    static const uint8_t one[16] = {[15] = 1};
    return a->family == 4 ? a->ip[0] == 127 : memcmp(a->ip, one, sizeof one) == 0;
}

/* IPv4 clients of an IPv6 socket are in the dump of IPv6, as mapped addresses. */
static void note(const struct older *o, struct found *all, const struct inet_diag_msg *m,
                 uint16_t port) {
    struct endpoint client = {.addr = addr_of(m->idiag_family, m->id.idiag_dst),
                              .port = ntohs(m->id.idiag_dport)};
    if (ntohs(m->id.idiag_sport) != port || is_loopback(&client.addr) ||
        o->is_ours(o, &client, port) || all->count == MANY)
        return;
    all->id[all->count] = m->id;
    all->family[all->count++] = m->idiag_family;
}

/* 1: it was the last; 0: there is more; -1. */
static int take(const struct older *o, struct found *all, const struct nlmsghdr *h, uint16_t port,
                struct fault *f) {
    if (h->nlmsg_type == NLMSG_DONE)
        return 1;
    if (h->nlmsg_type == NLMSG_ERROR)
        return fault_set(f, EPROTO, "list the target's connections");
    if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY &&
        h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
        note(o, all, NLMSG_DATA(h), port);
    return 0;
}

static int list(const struct older *o, struct found *all, uint8_t family, uint16_t port,
                struct fault *f) {
    _Alignas(struct nlmsghdr) uint8_t answer[ANSWER];
    struct request r = {.req = {.sdiag_family = family,
                                .sdiag_protocol = IPPROTO_TCP,
                                .idiag_states = 1u << TCP_ESTABLISHED}};
    if (ask(o, &r, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, f) != 0)
        return -1;
    for (int last = 0; last == 0;) {
        ssize_t n = recv(o->fd, answer, sizeof answer, 0);
        if (n < 0)
            return fault_set(f, errno, "list the target's connections");
        size_t left = (size_t)n;
        for (struct nlmsghdr *h = (struct nlmsghdr *)answer; last == 0 && NLMSG_OK(h, left);
             h = NLMSG_NEXT(h, left))
            last = take(o, all, h, port, f);
        if (last < 0)
            return -1;
    }
    return 0;
}

/* 0, or an errno: EOPNOTSUPP of a kernel without CONFIG_INET_DIAG_DESTROY. */
static int destroy(const struct older *o, const struct inet_diag_sockid *id, uint8_t family) {
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        uint8_t more[256];
    } answer;
    struct request r = {.req = {.sdiag_family = family, .sdiag_protocol = IPPROTO_TCP, .id = *id}};
    if (ask(o, &r, SOCK_DESTROY, NLM_F_REQUEST | NLM_F_ACK, NULL) != 0 ||
        recv(o->fd, &answer, sizeof answer, 0) < (ssize_t)sizeof answer.head)
        return errno;
    return answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : 0;
}

int older_connections(struct older *o, uint16_t port, bool destroy_them, struct fault *f) {
    struct found all = {.count = 0};
    if (list(o, &all, AF_INET, port, f) != 0 || list(o, &all, AF_INET6, port, f) != 0)
        return -1;
    int left = all.count;
    for (int i = 0; destroy_them && i < all.count; i++) {
        int err = destroy(o, &all.id[i], all.family[i]);
        left -= err == 0 || err == ENOENT;
    }
    return left;
}
