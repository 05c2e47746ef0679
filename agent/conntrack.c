#include "agent/conntrack.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Asking makes the kernel load the modules that could answer. If connection tracking is not there, nothing is tracked. */
#define TRACKING "/proc/sys/net/netfilter/nf_conntrack_max"

struct writer {
    uint8_t *base;
    size_t n;
};

static size_t attribute(struct writer *w, uint16_t type, const void *p, size_t n) {
    size_t at = w->n;
    struct nlattr a = {.nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type};
    memcpy(w->base + at, &a, sizeof a);
    if (n > 0)
        memcpy(w->base + at + NLA_HDRLEN, p, n);
    w->n += NLA_HDRLEN + NLA_ALIGN(n);
    return at;
}

static size_t nest(struct writer *w, uint16_t type) {
    return attribute(w, type | NLA_F_NESTED, NULL, 0);
}

static void unnest(struct writer *w, size_t at) {
    uint16_t len = (uint16_t)(w->n - at);
    memcpy(w->base + at, &len, sizeof len); /* nla_len is first */
}

size_t conntrack_question(uint8_t *out, const struct endpoint *own, const struct endpoint *peer,
                          uint32_t serial) {
    memset(out, 0, CONNTRACK_ASK);
    bool v4 = own->addr.family == 4;
    size_t size = v4 ? 4 : 16;
    uint8_t proto = IPPROTO_TCP;
    uint16_t from = htons(peer->port), to = htons(own->port);
    struct nfgenmsg g = {.nfgen_family = v4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0};
    memcpy(out + NLMSG_HDRLEN, &g, sizeof g);
    struct writer w = {out, NLMSG_HDRLEN + NLMSG_ALIGN(sizeof g)};
    size_t tuple = nest(&w, CTA_TUPLE_ORIG);
    size_t ip = nest(&w, CTA_TUPLE_IP);
    attribute(&w, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, peer->addr.ip, size);
    attribute(&w, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, own->addr.ip, size);
    unnest(&w, ip);
    size_t transport = nest(&w, CTA_TUPLE_PROTO);
    attribute(&w, CTA_PROTO_NUM, &proto, sizeof proto);
    attribute(&w, CTA_PROTO_SRC_PORT, &from, sizeof from);
    attribute(&w, CTA_PROTO_DST_PORT, &to, sizeof to);
    unnest(&w, transport);
    unnest(&w, tuple);
    struct nlmsghdr h = {
        .nlmsg_len = (uint32_t)w.n,
        .nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
        .nlmsg_flags = NLM_F_REQUEST,
        .nlmsg_seq = serial,
    };
    memcpy(out, &h, sizeof h);
    return w.n;
}

/* CTA_STATUS says it as flags, for whoever's rule it was. */
static int read_status(const uint8_t *p, size_t n, struct fault *f) {
    size_t at = NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));
    while (at + NLA_HDRLEN <= n) {
        struct nlattr a;
        memcpy(&a, p + at, sizeof a);
        if (a.nla_len < NLA_HDRLEN || a.nla_len > n - at)
            break;
        if ((a.nla_type & NLA_TYPE_MASK) == CTA_STATUS && a.nla_len >= NLA_HDRLEN + 4) {
            uint32_t status;
            memcpy(&status, p + at + NLA_HDRLEN, sizeof status);
            return (ntohl(status) & IPS_DST_NAT) != 0;
        }
        at += NLA_ALIGN(a.nla_len);
    }
    return fault_set(f, EPROTO, "connection tracking answered without a status");
}

static int read_answer(const uint8_t *p, size_t n, struct fault *f) {
    struct nlmsghdr h;
    if (n < sizeof h)
        return fault_set(f, EPROTO, "connection tracking answered with %zu octets", n);
    memcpy(&h, p, sizeof h);
    if (h.nlmsg_type != NLMSG_ERROR)
        return read_status(p, n, f);
    struct nlmsgerr e;
    if (n < NLMSG_HDRLEN + sizeof e)
        return fault_set(f, EPROTO, "connection tracking answered with a short error");
    memcpy(&e, p + NLMSG_HDRLEN, sizeof e);
    return e.error == -ENOENT ? 0 : fault_set(f, -e.error, "ask connection tracking");
}

int conntrack_redirects(int fd, const struct endpoint *own, const struct endpoint *peer,
                        struct fault *f) {
    if (access(TRACKING, F_OK) != 0)
        return 0;
    uint8_t buf[4096] __attribute__((aligned(8)));
    static const uint32_t serial =
        1; /* the kernel answers before send returns: there is never a second one */
    size_t n = conntrack_question(buf, own, peer, serial);
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, buf, n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return fault_set(f, errno, "ask connection tracking");
    ssize_t got = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
    if (got < 0)
        return fault_set(f, errno, "hear from connection tracking");
    return read_answer(buf, (size_t)got, f);
}
