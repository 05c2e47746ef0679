/* See assoc.h. */
#include "layer/netstack/assoc.h"
#include "layer/netstack/engine.h"
#include "layer/netstack/mirror.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define SECOND    1000000000ull
#define WINDOW    65536 /* channels of datagrams have no credit; the field must say something */
#define ICMP_HEAD 8

struct assoc {
    struct channel channel;
    struct netstack *ns;
    enum assoc_kind kind;
    struct endpoint app;    /* echo: the port is the identifier */
    struct endpoint client; /* mirrored: who sends */
    struct assoc *hash_next;
    struct link_node age;
    uint64_t used;
};

static const uint64_t idle[ASSOC_KINDS] = {
    [ASSOC_UDP] = 60 * SECOND, [ASSOC_DNS] = 10 * SECOND, [ASSOC_ECHO] = 30 * SECOND};

static const struct endpoint nobody;

/* --- the table -------------------------------------------------------------------------------------------------------- */

static bool same_family_of_kinds(enum assoc_kind a, enum assoc_kind b) {
    return (a == ASSOC_DNS ? ASSOC_UDP : a) == (b == ASSOC_DNS ? ASSOC_UDP : b);
}

static struct assoc **bucket(struct assocs *t, enum assoc_kind kind, const struct endpoint *app,
                             const struct endpoint *client) {
    uint32_t seed = t->seed + (kind == ASSOC_DNS ? ASSOC_UDP : kind);
    return &t->buckets[endpoint_pair_hash(app, client, seed) % ASSOC_BUCKETS];
}

static struct assoc *find(struct assocs *t, enum assoc_kind kind, const struct endpoint *app,
                          const struct endpoint *client) {
    for (struct assoc *a = *bucket(t, kind, app, client); a; a = a->hash_next)
        if (same_family_of_kinds(a->kind, kind) && endpoint_equal(&a->app, app) &&
            endpoint_equal(&a->client, client))
            return a;
    return NULL;
}

static void release(struct assoc *a) {
    struct assocs *t = &a->ns->assocs;
    struct assoc **at = bucket(t, a->kind, &a->app, &a->client);
    while (*at != a)
        at = &(*at)->hash_next;
    *at = a->hash_next;
    list_remove(&a->age);
    t->count--;
    t->mirrored -= a->kind == ASSOC_MIRROR;
    free(a);
}

static void end(struct assoc *a) {
    channel_reset(&a->channel, 0);
    release(a);
}

static void make_room(struct assocs *t) {
    struct assoc *oldest = NULL;
    for (int k = 0; k < ASSOC_KINDS; k++) {
        struct assoc *a = container_of(t->aged[k].next, struct assoc, age);
        if (!list_empty(&t->aged[k]) && (!oldest || a->used < oldest->used))
            oldest = a;
    }
    oldest->ns->counters.datagrams_lost++;
    end(oldest);
}

static void used(struct assoc *a) {
    struct assocs *t = &a->ns->assocs;
    a->used = loop_now(a->ns->loop);
    list_append(&t->aged[a->kind], &a->age);
    if (!t->timer.place)
        timer_set(a->ns->loop, &t->timer, a->used + SECOND);
}

static struct assoc *make(struct netstack *ns, enum assoc_kind kind, const struct endpoint *app,
                          const struct endpoint *client) {
    struct assocs *t = &ns->assocs;
    if (t->count >= ASSOC_MAX)
        make_room(t);
    struct assoc *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->ns = ns;
    a->kind = kind;
    a->app = *app;
    a->client = *client;
    struct assoc **place = bucket(t, kind, app, client);
    a->hash_next = *place;
    *place = a;
    t->count++;
    t->mirrored += kind == ASSOC_MIRROR;
    used(a);
    return a;
}

/* Once a second while there is anything that ends by time. */
static void look(struct timer *timer) {
    struct assocs *t = container_of(timer, struct assocs, timer);
    struct netstack *ns = container_of(t, struct netstack, assocs);
    uint64_t now = loop_now(ns->loop);
    bool more = false;
    for (int k = 0; k < ASSOC_KINDS; k++) {
        while (idle[k] && !list_empty(&t->aged[k])) {
            struct assoc *a = container_of(t->aged[k].next, struct assoc, age);
            if (now - a->used < idle[k])
                break;
            end(a);
        }
        more |= idle[k] && !list_empty(&t->aged[k]);
    }
    if (more)
        timer_set(ns->loop, timer, now + SECOND);
}

/* --- to the app ------------------------------------------------------------------------------------------------------- */

static struct assoc *of(struct channel *c) {
    return container_of(c, struct assoc, channel);
}

static void put16(uint8_t *at, uint16_t v) {
    at[0] = (uint8_t)(v >> 8);
    at[1] = (uint8_t)v;
}

/* IPv6's payload alone may have 65,535 octets, more than one packet to tun0: in two fragments then (RFC 8200 4.5), as the
 * target's own network would carry it. */
static void write_in_two(struct netstack *ns, uint8_t *packet, size_t n) {
    enum { IP6_HEAD = 40, FRAGMENT_HEAD = 8, FIRST = 32768 };
    uint8_t *transport = packet + IP6_HEAD;
    size_t len = n - IP6_HEAD;
    uint32_t id = ++ns->assocs.fragment_id;
    for (size_t at = 0; at < len; at += FIRST) {
        size_t part = len - at < FIRST ? len - at : FIRST;
        bool more = at + part < len;
        uint8_t head[IP6_HEAD + FRAGMENT_HEAD];
        memcpy(head, packet, IP6_HEAD);
        put16(head + 4, (uint16_t)(FRAGMENT_HEAD + part));
        head[6] = IPPROTO_FRAGMENT;
        head[IP6_HEAD] = IPPROTO_UDP;
        head[IP6_HEAD + 1] = 0;
        put16(head + IP6_HEAD + 2,
              (uint16_t)(at | more)); /* in units of 8 octets, shifted by 3: octets */
        put16(head + IP6_HEAD + 4, (uint16_t)(id >> 16));
        put16(head + IP6_HEAD + 6, (uint16_t)id);
        struct iovec iov[3] = {{NULL, 0}, {head, sizeof head}, {transport + at, part}};
        tun_writev(&ns->tun, iov, 3, 0, 0);
    }
}

static void write_udp(struct netstack *ns, const struct endpoint *from, const struct endpoint *to,
                      const uint8_t *p, size_t n) {
    enum { PACKET = 65535, UDP_HEAD = 8 };
    size_t room = PACKET - UDP_HEAD - (from->addr.family == 4 ? 20 : 0);
    if (from->addr.family != to->addr.family || n > room) {
        ns->counters.datagrams_lost++;
        return;
    }
    uint8_t *packet = ns->assocs.out;
    size_t len = view_write_udp(packet, from, to, p, n);
    if (len > PACKET)
        write_in_two(ns, packet, len);
    else
        tun_write(&ns->tun, packet, len);
}

static void write_echo(struct assoc *a, const struct endpoint *peer, const uint8_t *p, size_t n) {
    bool v4 = a->app.addr.family == 4;
    uint8_t *out = a->ns->assocs.out;
    uint8_t proto = v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
    if (peer->addr.family != a->app.addr.family || n > 65535 - 48)
        return;
    size_t len = ICMP_HEAD + n;
    size_t head = view_write_ip(out, &peer->addr, &a->app.addr, proto, len);
    uint8_t *icmp = out + head;
    memset(icmp, 0, ICMP_HEAD);
    icmp[0] = v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    put16(icmp + 4, a->app.port);
    put16(icmp + 6, peer->port);
    memcpy(icmp + ICMP_HEAD, p, n);
    uint32_t sum = v4 ? 0 : checksum_pseudo(&peer->addr, &a->app.addr, proto, (uint32_t)len);
    put16(icmp + 2, checksum_fold(checksum_add(sum, icmp, len)));
    tun_write(&a->ns->tun, out, head + len);
}

static void on_datagram(struct channel *c, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    struct assoc *a = of(c);
    used(a);
    if (a->kind == ASSOC_ECHO)
        write_echo(a, peer, p, n);
    else if (a->kind == ASSOC_MIRROR)
        write_udp(a->ns, &a->client, &a->app, p, n);
    else
        write_udp(a->ns, peer, &a->app, p, n);
}

/* What the app sent is quoted as far as its kernel looks to find the socket: addresses and ports. */
static void on_unreachable(struct channel *c, const struct endpoint *peer, int err) {
    struct assoc *a = of(c);
    uint8_t sent[60 + 8], out[1500];
    struct ip_view ip;
    if (a->kind == ASSOC_ECHO || a->kind == ASSOC_MIRROR || peer->addr.family != a->app.addr.family)
        return;
    size_t n = view_write_udp(sent, &a->app, peer, "", 0);
    CHECK(view_ip(sent, n, &ip));
    n = view_write_unreachable(out, &ip, err);
    if (n)
        tun_write(&a->ns->tun, out, n);
}

static void on_reset(struct channel *c, int err) {
    (void)err;
    release(of(c));
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    (void)p;
    channel_grant(c, n); /* a stream has no meaning here */
}

static const struct channel_ops ops = {
    .data = on_data, .datagram = on_datagram, .unreachable = on_unreachable, .reset = on_reset};

/* --- from the app ----------------------------------------------------------------------------------------------------- */

static struct assoc *open_out(struct netstack *ns, enum assoc_kind kind,
                              const struct endpoint *app) {
    struct assoc *a = ns->links.primary ? make(ns, kind, app, &nobody) : NULL;
    if (!a)
        return NULL;
    struct channel_open o = {.kind = kind == ASSOC_ECHO ? CHANNEL_ECHO : CHANNEL_UDP,
                             .window = WINDOW,
                             .source = *app,
                             .target = ns->links.primary->target};
    channel_open(ns->links.primary->mux, &a->channel, &ops, &o);
    return channel_attached(&a->channel) ? a : NULL;
}

static void send_out(struct assoc *a, const struct endpoint *peer, const uint8_t *p, size_t n) {
    struct netstack *ns = a->ns;
    used(a);
    if (!channel_datagram(&a->channel, peer, p, n))
        ns->counters.datagrams_lost++;
}

/* A wildcard socket answers a client on loopback from 127.0.0.1, whichever address it was asked at: that is no source of a
 * datagram that anybody in the target should see. */
static bool answers_mirrored(struct netstack *ns, const struct endpoint *app,
                             const struct endpoint *peer) {
    const struct listeners *l = &ns->listeners;
    if (find(&ns->assocs, ASSOC_MIRROR, app, peer))
        return true;
    for (size_t i = 0; i < l->own_count; i++) {
        struct endpoint asked = {.addr = l->own[i], .port = app->port};
        if (find(&ns->assocs, ASSOC_MIRROR, &asked, peer))
            return true;
    }
    return false;
}

void assoc_udp(struct netstack *ns, const struct ip_view *ip) {
    struct assocs *t = &ns->assocs;
    struct udp_view udp;
    if (!view_udp(ip, &udp))
        return;
    struct endpoint app = {.addr = ip->src, .port = udp.src_port},
                    peer = {.addr = ip->dst, .port = udp.dst_port};
    if (t->mirrored && answers_mirrored(ns, &app, &peer)) {
        ns->counters.answers += udp.payload_len;
        return;
    }
    if (listeners_own(ns, ip, &app, &peer))
        return;
    bool dns = udp.dst_port == 53;
    struct assoc *a = find(t, ASSOC_UDP, &app, &nobody);
    if (!a)
        a = open_out(ns, dns ? ASSOC_DNS : ASSOC_UDP, &app);
    if (!a) {
        ns->counters.datagrams_lost++;
        return;
    }
    if (!dns)
        a->kind = ASSOC_UDP;
    send_out(a, &peer, udp.payload, udp.payload_len);
}

void assoc_icmp(struct netstack *ns, const struct ip_view *ip) {
    const uint8_t *icmp = ip->payload;
    uint8_t request = ip->proto == IPPROTO_ICMP ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
    if (ip->payload_len < ICMP_HEAD || icmp[0] != request || icmp[1] != 0)
        return;
    struct endpoint app = {.addr = ip->src, .port = (uint16_t)(icmp[4] << 8 | icmp[5])};
    struct endpoint peer = {.addr = ip->dst, .port = (uint16_t)(icmp[6] << 8 | icmp[7])};
    struct assoc *a = find(&ns->assocs, ASSOC_ECHO, &app, &nobody);
    if (!a)
        a = open_out(ns, ASSOC_ECHO, &app);
    if (a)
        send_out(a, &peer, icmp + ICMP_HEAD, ip->payload_len - ICMP_HEAD);
}

/* --- from an agent ---------------------------------------------------------------------------------------------------- */

static bool is_free(struct netstack *ns, const struct endpoint *app,
                    const struct endpoint *client) {
    return !find(&ns->assocs, ASSOC_MIRROR, app, client);
}

struct channel *assoc_mirror(struct netstack *ns, const struct channel_open *o, int *err) {
    struct endpoint client = o->source;
    if (!o->source.addr.family || o->source.addr.family != o->destination.addr.family) {
        *err = EAFNOSUPPORT;
        return NULL;
    }
    if (!mirror_client(ns, &o->destination, &client, is_free)) {
        *err = EADDRINUSE;
        return NULL;
    }
    struct assoc *a = make(ns, ASSOC_MIRROR, &o->destination, &client);
    if (!a) {
        *err = ENOMEM;
        return NULL;
    }
    channel_accept(&a->channel, &ops, WINDOW);
    return &a->channel;
}

void assoc_init(struct netstack *ns) {
    struct assocs *t = &ns->assocs;
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed)
        t->seed = (uint32_t)(uintptr_t)t;
    for (int k = 0; k < ASSOC_KINDS; k++)
        list_init(&t->aged[k]);
    t->timer.fire = look;
}

void assoc_stop(struct netstack *ns) {
    timer_cancel(ns->loop, &ns->assocs.timer);
}
