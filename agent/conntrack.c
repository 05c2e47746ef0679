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

/* About the connection that has this tuple, as the first packet or as an answer to it has it. */
static size_t question(uint8_t *out, uint16_t which, const struct endpoint *src,
                       const struct endpoint *dst, uint32_t serial) {
    memset(out, 0, CONNTRACK_ASK);
    bool v4 = src->addr.family == 4;
    size_t size = v4 ? 4 : 16;
    uint8_t proto = IPPROTO_TCP;
    uint16_t from = htons(src->port), to = htons(dst->port);
    struct nfgenmsg g = {.nfgen_family = v4 ? AF_INET : AF_INET6, .version = NFNETLINK_V0};
    memcpy(out + NLMSG_HDRLEN, &g, sizeof g);
    struct writer w = {out, NLMSG_HDRLEN + NLMSG_ALIGN(sizeof g)};
    size_t tuple = nest(&w, which);
    size_t ip = nest(&w, CTA_TUPLE_IP);
    attribute(&w, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, src->addr.ip, size);
    attribute(&w, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, dst->addr.ip, size);
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

size_t conntrack_question(uint8_t *out, const struct endpoint *own, const struct endpoint *peer,
                          uint32_t serial) {
    return question(out, CTA_TUPLE_ORIG, peer, own, serial);
}

/* The payload of the attribute of this type among `n` octets; its length in *size. NULL: there is none. */
static const uint8_t *attribute_of(const uint8_t *p, size_t n, uint16_t type, size_t *size) {
    size_t at = 0;
    while (at + NLA_HDRLEN <= n) {
        struct nlattr a;
        memcpy(&a, p + at, sizeof a);
        if (a.nla_len < NLA_HDRLEN || a.nla_len > n - at)
            return NULL;
        if ((a.nla_type & NLA_TYPE_MASK) == type) {
            *size = (size_t)a.nla_len - NLA_HDRLEN;
            return p + at + NLA_HDRLEN;
        }
        at += NLA_ALIGN(a.nla_len);
    }
    return NULL;
}

#define ATTRIBUTES (NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg)))

/* CTA_STATUS says it as flags, for whoever's rule it was. */
static int read_status(const uint8_t *p, size_t n, struct fault *f) {
    size_t size = 0;
    uint32_t status;
    const uint8_t *found =
        n < ATTRIBUTES ? NULL : attribute_of(p + ATTRIBUTES, n - ATTRIBUTES, CTA_STATUS, &size);
    if (!found || size < sizeof status)
        return fault_set(f, EPROTO, "connection tracking answered without a status");
    memcpy(&status, found, sizeof status);
    return (ntohl(status) & IPS_DST_NAT) != 0;
}

/* Who began it: the source of the tuple that its first packet had. */
static int read_origin(const uint8_t *p, size_t n, struct endpoint *origin, struct fault *f) {
    size_t size = 0, ip_size = 0, part = 0;
    const uint8_t *tuple =
        n < ATTRIBUTES ? NULL : attribute_of(p + ATTRIBUTES, n - ATTRIBUTES, CTA_TUPLE_ORIG, &size);
    const uint8_t *ip = tuple ? attribute_of(tuple, size, CTA_TUPLE_IP, &ip_size) : NULL;
    const uint8_t *transport = tuple ? attribute_of(tuple, size, CTA_TUPLE_PROTO, &part) : NULL;
    const uint8_t *port =
        transport ? attribute_of(transport, part, CTA_PROTO_SRC_PORT, &size) : NULL;
    if (!ip || !port || size < 2)
        return fault_set(f, EPROTO, "connection tracking answered without a tuple");
    *origin = (struct endpoint){.port = (uint16_t)(port[0] << 8 | port[1])};
    const uint8_t *source = attribute_of(ip, ip_size, CTA_IP_V4_SRC, &size);
    if (source && size == 4)
        origin->addr = addr_v4(source);
    else if ((source = attribute_of(ip, ip_size, CTA_IP_V6_SRC, &size)) && size == 16)
        origin->addr = addr_v6(source);
    else
        return fault_set(f, EPROTO, "connection tracking answered without an address");
    return 1;
}

/* Asks, and hears the answer into `buf`: its length; 0: it is not tracked; -1. */
static ssize_t ask(int fd, uint8_t *buf, size_t capacity, size_t n, struct fault *f) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(fd, buf, n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return fault_set(f, errno, "ask connection tracking");
    ssize_t got = recv(fd, buf, capacity, MSG_DONTWAIT);
    if (got < 0)
        return fault_set(f, errno, "hear from connection tracking");
    struct nlmsghdr h;
    if ((size_t)got < sizeof h)
        return fault_set(f, EPROTO, "connection tracking answered with %zd octets", got);
    memcpy(&h, buf, sizeof h);
    if (h.nlmsg_type != NLMSG_ERROR)
        return got;
    struct nlmsgerr e;
    if ((size_t)got < NLMSG_HDRLEN + sizeof e)
        return fault_set(f, EPROTO, "connection tracking answered with a short error");
    memcpy(&e, buf + NLMSG_HDRLEN, sizeof e);
    return e.error == -ENOENT ? 0 : fault_set(f, -e.error, "ask connection tracking");
}

/* The kernel answers before send returns: there is never a second one. */
enum { SERIAL = 1, ANSWER = 4096 };

int conntrack_redirects(int fd, const struct endpoint *own, const struct endpoint *peer,
                        struct fault *f) {
    if (access(TRACKING, F_OK) != 0)
        return 0;
    uint8_t buf[ANSWER] __attribute__((aligned(8)));
    ssize_t got = ask(fd, buf, sizeof buf, conntrack_question(buf, own, peer, SERIAL), f);
    return got > 0 ? read_status(buf, (size_t)got, f) : (int)got;
}

int conntrack_origin(int fd, const struct endpoint *own, const struct endpoint *peer,
                     struct endpoint *origin, struct fault *f) {
    if (access(TRACKING, F_OK) != 0)
        return 0;
    uint8_t buf[ANSWER] __attribute__((aligned(8)));
    ssize_t got = ask(fd, buf, sizeof buf, question(buf, CTA_TUPLE_REPLY, own, peer, SERIAL), f);
    if (got <= 0)
        return (int)got;
    struct endpoint found;
    if (read_origin(buf, (size_t)got, &found, f) < 0)
        return -1;
    if (endpoint_equal(&found, peer))
        return 0;
    *origin = found;
    return 1;
}
