/* See clients.h.
 *
 * A client's port that comes back within TIME_WAIT's 120 s of connection tracking meets the reply tuple (target → that client)
 * of our earlier connection: the source NAT finds no free place and the SYN is dropped. So an entry with that tuple is deleted before
 * each connect; it can only be ours and over, because a living one of the same client would be the client's own connection
 * (tests/facts/test_02_client_ports.py).
 *
 * Deletions wait for the next addition and go in its transaction: a second one for each connection would cost as much again. */
#include "agent/gate/clients.h"

#include "agent/gate/netlink.h"
#include "agent/gate/rules.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORTS = 65536, WAITING = 64, MESSAGE = 8192, ANSWER = 8192 };
#define NFPROTO_OF_INET                                                                            \
    1 /* linux/netfilter.h's NFPROTO_INET, without its clash with netinet/in.h */

struct clients {
    int fd;
    uint32_t serial;
    uint16_t first, last; /* the kernel's range, both included */
    uint8_t used[PORTS / 8];
    struct client_port gone[WAITING]; /* elements to delete with the next addition */
    uint32_t gone_count;
    uint8_t message[MESSAGE], answer[ANSWER];
};

/* --- ports ---------------------------------------------------------------------------------------------------------- */

static bool is_used(const struct clients *c, uint16_t port) {
    return c->used[port / 8] & 1u << port % 8;
}

static void mark(struct clients *c, uint16_t port, bool used) {
    uint8_t bit = (uint8_t)(1u << port % 8);
    c->used[port / 8] = (uint8_t)(used ? c->used[port / 8] | bit : c->used[port / 8] & ~bit);
}

static void read_range(struct clients *c) {
    unsigned first = 32768, last = 60999; /* ip-sysctl's default */
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file) {
        if (fscanf(file, "%u %u", &first, &last) != 2 || first > last || last > 65535 || !first)
            first = 32768, last = 60999;
        fclose(file);
    }
    c->first = (uint16_t)first;
    c->last = (uint16_t)last;
}

/* The search begins where a client's own address and port say: one that comes back gets the same port again if it can, and so
 * sequence numbers that go on from those which the target's end may still remember (RFC 6528; TIME_WAIT takes such a SYN at
 * once, and lets another wait for two ticks). A port where something of the target's is bound is passed over: EADDRINUSE. */
static int bind_somewhere(struct clients *c, int sock, const struct endpoint *own,
                          const struct endpoint *peer, uint32_t scope, uint16_t *port,
                          struct fault *f) {
    struct endpoint at = *own;
    struct sockaddr_storage sa;
    uint32_t count = (uint32_t)(c->last - c->first) + 1, start = endpoint_hash(peer, own->port);
    for (uint32_t i = 0; i < count; i++) {
        at.port = (uint16_t)(c->first + (start + i) % count);
        if (is_used(c, at.port))
            continue;
        socklen_t len = endpoint_to_sockaddr(&at, &sa);
        if (at.addr.family == 6)
            ((struct sockaddr_in6 *)&sa)->sin6_scope_id = scope;
        if (bind(sock, (struct sockaddr *)&sa, len) == 0) {
            *port = at.port;
            return 0;
        }
        if (errno != EADDRINUSE)
            return fault_set(f, errno, "bind a connection to the target");
    }
    return fault_set(f, EADDRINUSE, "find a port for a connection to the target");
}

/* --- the map -------------------------------------------------------------------------------------------------------- */

static const char *map_of(uint8_t family) {
    return family == 4 ? RULES_MAP4 : RULES_MAP6;
}

/* Both maps: data is the address and the port, each padded to four octets (nft's concatenations). `peer` NULL: a deletion. */
static void write_element(struct nl_writer *w, uint8_t family, uint16_t port,
                          const struct endpoint *peer) {
    uint16_t type =
        (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | (peer ? NFT_MSG_NEWSETELEM : NFT_MSG_DELSETELEM));
    size_t message =
        nl_begin(w, type, NLM_F_REQUEST | (peer ? NLM_F_CREATE : 0), NFPROTO_OF_INET, 0);
    nl_put(w, NFTA_SET_ELEM_LIST_TABLE, RULES_TABLE, sizeof RULES_TABLE);
    nl_put(w, NFTA_SET_ELEM_LIST_SET, map_of(family), sizeof RULES_MAP4);
    size_t list = nl_nest(w, NFTA_SET_ELEM_LIST_ELEMENTS);
    size_t element = nl_nest(w, NFTA_LIST_ELEM);
    size_t key = nl_nest(w, NFTA_SET_ELEM_KEY);
    nl_put_be16(w, NFTA_DATA_VALUE, port);
    nl_unnest(w, key);
    if (peer) {
        uint8_t octets[20] = {0};
        size_t size = family == 4 ? 4 : 16;
        uint16_t from = htons(peer->port);
        memcpy(octets, peer->addr.ip, size);
        memcpy(octets + size, &from, sizeof from);
        size_t data = nl_nest(w, NFTA_SET_ELEM_DATA);
        nl_put(w, NFTA_DATA_VALUE, octets, size + 4);
        nl_unnest(w, data);
    }
    nl_unnest(w, element);
    nl_unnest(w, list);
    nl_end(w, message);
}

static struct nl_writer writer_of(struct clients *c) {
    return (struct nl_writer){.base = c->message, .size = sizeof c->message};
}

/* The kernel has worked off a message when send returns: an answer, which is an error, is there by then or never. */
static int send_message(struct clients *c, const struct nl_writer *w, bool may_be_absent,
                        const char *doing, struct fault *f) {
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    if (sendto(c->fd, w->base, w->n, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
        return fault_set(f, errno, "%s", doing);
    int err = 0;
    for (ssize_t n; (n = recv(c->fd, c->answer, sizeof c->answer, MSG_DONTWAIT)) > 0;) {
        const struct nlmsghdr *h = (const struct nlmsghdr *)(const void *)c->answer;
        for (size_t left = (size_t)n; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
            struct nlmsgerr e;
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof e))
                continue;
            memcpy(&e, NLMSG_DATA(h), sizeof e);
            if (e.error && err == 0)
                err = -e.error;
        }
    }
    if (err == 0 || (may_be_absent && (err == ENOENT || err == EINVAL)))
        return 0; /* EINVAL: a kernel without ctnetlink; it forgets by itself, a second later */
    return fault_set(f, err, "%s", doing);
}

static void write_gone(struct clients *c, struct nl_writer *w) {
    for (uint32_t i = 0; i < c->gone_count; i++)
        write_element(w, c->gone[i].family, c->gone[i].port, NULL);
}

/* One transaction: what is over goes, and `peer` comes, if it is not NULL. */
static int change(struct clients *c, const struct client_port *p, const struct endpoint *peer,
                  struct fault *f) {
    struct nl_writer w = writer_of(c);
    size_t at = nl_begin(&w, NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    nl_end(&w, at);
    write_gone(c, &w);
    if (peer)
        write_element(&w, p->family, p->port, peer);
    at = nl_begin(&w, NFNL_MSG_BATCH_END, NLM_F_REQUEST, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    nl_end(&w, at);
    if (send_message(c, &w, false, "tell the target's kernel a client's address", f) != 0)
        return -1;
    c->gone_count = 0;
    return 0;
}

/* --- connection tracking -------------------------------------------------------------------------------------------- */

static void write_tuple(struct nl_writer *w, uint16_t type, const struct endpoint *from,
                        const struct endpoint *to) {
    bool v4 = from->addr.family == 4;
    size_t tuple = nl_nest(w, type);
    size_t ip = nl_nest(w, CTA_TUPLE_IP);
    nl_put(w, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, from->addr.ip, v4 ? 4 : 16);
    nl_put(w, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, to->addr.ip, v4 ? 4 : 16);
    nl_unnest(w, ip);
    size_t transport = nl_nest(w, CTA_TUPLE_PROTO);
    nl_put_u8(w, CTA_PROTO_NUM, IPPROTO_TCP);
    nl_put_be16(w, CTA_PROTO_SRC_PORT, from->port);
    nl_put_be16(w, CTA_PROTO_DST_PORT, to->port);
    nl_unnest(w, transport);
    nl_unnest(w, tuple);
}

static int forget(struct clients *c, const struct endpoint *own, const struct endpoint *peer,
                  struct fault *f) {
    struct nl_writer w = writer_of(c);
    size_t at = nl_begin(&w, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST,
                         own->addr.family == 4 ? AF_INET : AF_INET6, 0);
    write_tuple(&w, CTA_TUPLE_REPLY, own, peer);
    nl_end(&w, at);
    return send_message(c, &w, true, "forget an earlier connection of a client", f);
}

void clients_forget_tracked(struct clients *c) {
    static const uint8_t families[] = {AF_INET, AF_INET6};
    struct fault
        ignored; /* without it the kernel forgets by itself, a second later: `ct timeout gone` */
    for (size_t i = 0; i < sizeof families; i++) {
        struct nl_writer w = writer_of(c);
        size_t at = nl_begin(&w, NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST,
                             families[i], 0);
        nl_put_be32(&w, CTA_MARK, RULES_MARK);
        nl_put_be32(&w, CTA_MARK_MASK, UINT32_MAX);
        nl_end(&w, at);
        send_message(c, &w, true, "forget the gate's connections", &ignored);
    }
}

/* --- the whole ------------------------------------------------------------------------------------------------------ */

struct clients *clients_new(int fd, struct fault *f) {
    struct clients *c = calloc(1, sizeof *c);
    if (!c) {
        fault_set(f, ENOMEM, "make the map of clients");
        return NULL;
    }
    c->fd = fd;
    read_range(c);
    return c;
}

void clients_free(struct clients *c) {
    free(c);
}

int clients_bind(struct clients *c, int sock, const struct endpoint *own,
                 const struct endpoint *peer, uint32_t scope, struct client_port *p,
                 struct fault *f) {
    struct client_port made = {.family = own->addr.family};
    if (bind_somewhere(c, sock, own, peer, scope, &made.port, f) != 0 ||
        forget(c, own, peer, f) != 0 || change(c, &made, peer, f) != 0)
        return -1;
    mark(c, made.port, true);
    *p = made;
    return 0;
}

void clients_release(struct clients *c, struct client_port *p) {
    if (!p->port)
        return;
    mark(c, p->port, false);
    c->gone[c->gone_count++] = *p;
    p->port = 0;
    /* Should the kernel not take them away, a port's next user is told so. */
    if (c->gone_count == WAITING && change(c, NULL, NULL, NULL) != 0)
        c->gone_count = 0;
}
