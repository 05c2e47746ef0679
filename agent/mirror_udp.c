/* Datagrams to the target's ports: one channel for each client and port, which ends when the client has been silent. */
#include "native/fragments.h"
#include "agent/mirror_parts.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/queue.h>

#define CHAINS       1024
#define CLIENTS_MOST 1024 /* a further one takes the place of the one longest silent */
#define SILENCE      (60 * MIRROR_SECOND) /* twice what conntrack gives an unanswered one */
#define ANSWER_WINDOW                                                                              \
    65536 /* datagrams have no credit; a peer that sent octets would break the protocol */

struct client {
    LIST_ENTRY(client) chain;
    TAILQ_ENTRY(client) age;
    struct mirror_udp *table;
    struct mirrored_port *port;
    struct endpoint source, own;
    struct channel channel;
    uint64_t seen;
};

struct mirror_udp {
    struct mirror *mirror;
    struct fragments *fragments;
    LIST_HEAD(client_chain, client) chains[CHAINS];
    TAILQ_HEAD(client_list, client) clients; /* longest silent first */
    size_t count;
};

static struct client_chain *chain_of(struct mirror_udp *u, const struct endpoint *source,
                                     const struct endpoint *own) {
    return &u->chains[endpoint_pair_hash(source, own, 0) % CHAINS];
}

static struct client *find(struct mirror_udp *u, const struct endpoint *source,
                           const struct endpoint *own) {
    struct client *c;
    LIST_FOREACH(c, chain_of(u, source, own), chain) {
        if (endpoint_equal(&c->source, source) && endpoint_equal(&c->own, own))
            return c;
    }
    return NULL;
}

/* Its channel has been forgotten. */
static void client_gone(struct client *c) {
    struct mirror_udp *u = c->table;
    LIST_REMOVE(c, chain);
    TAILQ_REMOVE(&u->clients, c, age);
    u->count--;
    free(c);
}

static void client_end(struct client *c) {
    channel_reset(&c->channel, ETIMEDOUT);
    client_gone(c);
}

static void on_reset(struct channel *ch, int err) {
    struct client *c = container_of(ch, struct client, channel);
    if (err == ENETRESET)
        c->table->mirror->mux = NULL;
    client_gone(c); /* its next datagram tries again: the app may be listening by then */
}

static void on_eof(struct channel *ch) {
    client_end(container_of(ch, struct client, channel));
}

static void on_data(struct channel *ch, const uint8_t *p, size_t n) {
    (void)p;
    channel_grant(ch, n);
}

/* Answers are the target's to give: the app's are not even looked at. */
static const struct channel_ops ops = {.data = on_data, .eof = on_eof, .reset = on_reset};

static void open_channel(struct client *c) {
    struct mirror *m = c->table->mirror;
    struct channel_open open = {
        .kind = CHANNEL_MIRROR_UDP,
        .window = ANSWER_WINDOW,
        .source = c->source,
        .destination = {.addr = c->own.addr, .port = c->port->port.app_port},
        .target = m->target,
    };
    channel_open(m->mux, &c->channel, &ops, &open);
}

static struct client *client_new(struct mirror_udp *u, const struct endpoint *source,
                                 const struct endpoint *own) {
    struct mirror *m = u->mirror;
    struct mirrored_port *port = mirror_port_find(m, IPPROTO_UDP, own->port);
    if (!port || !port->wanted || m->owns(m->ctx, source) || !mux_opens(m->mux) ||
        mirror_is_full(m))
        return NULL;
    if (u->count == CLIENTS_MOST)
        client_end(TAILQ_FIRST(&u->clients));
    struct client *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->table = u;
    c->port = port;
    c->source = *source;
    c->own = *own;
    LIST_INSERT_HEAD(chain_of(u, source, own), c, chain);
    TAILQ_INSERT_TAIL(&u->clients, c, age);
    u->count++;
    open_channel(c);
    mirror_chores_soon(m);
    return c;
}

static bool sum_is_right(const struct sniff_packet *p, const struct ip_view *ip) {
    if (!p->unchecked || ip->payload_len < 8 ||
        (ip->version == 4 && ip->payload[6] == 0 &&
         ip->payload[7] == 0)) /* RFC 768: none was made */
        return true;
    uint32_t sum = checksum_pseudo(&ip->src, &ip->dst, IPPROTO_UDP, (uint32_t)ip->payload_len);
    return checksum_fold(checksum_add(sum, ip->payload, ip->payload_len)) == 0;
}

void mirror_udp_packet(struct mirror_udp *u, const struct sniff_packet *p,
                       const struct ip_view *ip) {
    struct mirror *m = u->mirror;
    struct udp_view d;
    struct ip_view whole;
    if (ip->fragment) {
        if (!fragments_add(u->fragments, ip, loop_now(m->loop), &whole))
            return;
        ip = &whole;
    }
    if (!view_udp(ip, &d) || !sum_is_right(p, ip) || d.payload_len > MUX_FRAME_DATA)
        return;
    struct endpoint source = {.addr = ip->src, .port = d.src_port},
                    own = {.addr = ip->dst, .port = d.dst_port};
    struct client *c = find(u, &source, &own);
    if (!c && !(c = client_new(u, &source, &own)))
        return;
    c->seen = loop_now(m->loop);
    TAILQ_REMOVE(&u->clients, c, age);
    TAILQ_INSERT_TAIL(&u->clients, c, age);
    if (m->rate && !mirror_rate_datagram(m->rate, d.payload_len, c->seen))
        m->counters.limited++;
    else if (channel_datagram(&c->channel, &source, d.payload, d.payload_len))
        m->counters.datagrams++;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct mirror_udp *mirror_udp_new(struct mirror *m) {
    struct mirror_udp *u = calloc(1, sizeof *u);
    if (!u || !(u->fragments = fragments_new())) {
        free(u);
        return NULL;
    }
    u->mirror = m;
    TAILQ_INIT(&u->clients);
    return u;
}

void mirror_udp_free(struct mirror_udp *u) {
    while (!TAILQ_EMPTY(&u->clients))
        client_end(TAILQ_FIRST(&u->clients));
    fragments_free(u->fragments);
    free(u);
}

void mirror_udp_port_gone(struct mirror_udp *u, struct mirrored_port *p) {
    for (struct client *c = TAILQ_FIRST(&u->clients), *next; c; c = next) {
        next = TAILQ_NEXT(c, age);
        if (c->port == p)
            client_end(c);
    }
}

uint64_t mirror_udp_lost(const struct mirror_udp *u) {
    return fragments_lost(u->fragments);
}

bool mirror_udp_expire(struct mirror_udp *u, uint64_t now) {
    struct client *c;
    while ((c = TAILQ_FIRST(&u->clients)) && now - c->seen > SILENCE)
        client_end(c);
    return u->count > 0;
}
