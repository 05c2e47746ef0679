/* See netlink.h. */
#include "agent/gate/netlink.h"

#include "native/fault.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

static uint8_t *take(struct nl_writer *w, size_t n) {
    CHECK(w->size - w->n >= NLMSG_ALIGN(n));
    uint8_t *p = w->base + w->n;
    memset(p, 0, NLMSG_ALIGN(n));
    w->n += NLMSG_ALIGN(n);
    return p;
}

size_t nl_begin(struct nl_writer *w, uint16_t type, uint16_t flags, uint8_t family,
                uint16_t resource) {
    size_t at = w->n;
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = flags};
    struct nfgenmsg g = {
        .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource)};
    memcpy(take(w, sizeof h), &h, sizeof h);
    memcpy(take(w, sizeof g), &g, sizeof g);
    return at;
}

void nl_end(struct nl_writer *w, size_t at) {
    uint32_t length = (uint32_t)(w->n - at);
    memcpy(w->base + at + offsetof(struct nlmsghdr, nlmsg_len), &length, sizeof length);
}

void nl_put(struct nl_writer *w, uint16_t type, const void *p, size_t n) {
    struct nlattr a = {.nla_len = (uint16_t)(NLA_HDRLEN + n), .nla_type = type};
    uint8_t *to = take(w, NLA_HDRLEN + n);
    memcpy(to, &a, sizeof a);
    if (n > 0)
        memcpy(to + NLA_HDRLEN, p, n);
}

void nl_put_u8(struct nl_writer *w, uint16_t type, uint8_t v) {
    nl_put(w, type, &v, sizeof v);
}

void nl_put_be16(struct nl_writer *w, uint16_t type, uint16_t v) {
    uint16_t octets = htons(v);
    nl_put(w, type, &octets, sizeof octets);
}

void nl_put_be32(struct nl_writer *w, uint16_t type, uint32_t v) {
    uint32_t octets = htonl(v);
    nl_put(w, type, &octets, sizeof octets);
}

size_t nl_nest(struct nl_writer *w, uint16_t type) {
    size_t at = w->n;
    nl_put(w, type | NLA_F_NESTED, NULL, 0);
    return at;
}

void nl_unnest(struct nl_writer *w, size_t at) {
    uint16_t length = (uint16_t)(w->n - at);
    memcpy(w->base + at + offsetof(struct nlattr, nla_len), &length, sizeof length);
}
