#include "agent/mirror_parts.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

/* --- ports ------------------------------------------------------------------------------------------------------ */

struct mirrored_port *mirror_port_find(const struct mirror *m, uint8_t proto,
                                       uint16_t target_port) {
    for (struct mirrored_port *p = m->ports; p; p = p->next)
        if (p->port.proto == proto && p->port.target_port == target_port)
            return p;
    return NULL;
}

static bool is_used(const struct mirrored_port *p) {
    return p->wanted || p->live > 0;
}

/* What a filter saw is asked for at the end too, when the app listens no more. */
static bool is_remembered(const struct mirrored_port *p) {
    return p->seen.seen || p->seen.tls || p->seen.other;
}

static void forget_unused(struct mirror *m) {
    struct mirrored_port **at = &m->ports;
    while (*at) {
        struct mirrored_port *p = *at;
        if (is_used(p)) {
            at = &p->next;
            continue;
        }
        if (p->port.proto == IPPROTO_TCP)
            mirror_tcp_port_gone(m->tcp, p);
        else
            mirror_udp_port_gone(m->udp, p);
        if (is_remembered(p)) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        free(p);
    }
}

/* The kernel takes what the list says, no more: one program for all ports, swapped whole. */
static void apply(struct mirror *m) {
    struct mirror_port ports[FILTER_PORTS];
    struct sock_filter code[FILTER_MOST];
    size_t n = 0;
    forget_unused(m);
    for (const struct mirrored_port *p = m->ports; p && n < FILTER_PORTS; p = p->next)
        if (is_used(p))
            ports[n++] = p->port;
    m->fault = (struct fault){0};
    if (n == 0) {
        sniff_close(m->sniff);
        malloc_trim(0); /* what was held for slow apps came in pieces, and lies about in the heap */
    } else if (sniff_open(m->sniff, code, filter_program(ports, n, code), &m->fault) == 0) {
        mirror_chores_soon(m);
    }
}

static void want(struct mirror *m, const struct mirror_port *port) {
    struct mirrored_port *p = mirror_port_find(m, port->proto, port->target_port);
    if (!p) {
        p = calloc(1, sizeof *p); /* at most FILTER_PORTS and those that are still open */
        if (!p) {
            fault_set(&m->fault, ENOMEM, "note a port to mirror");
            return;
        }
        p->next = m->ports;
        m->ports = p;
    }
    p->port = *port;
    p->seen.target_port = port->target_port;
    p->wanted = true;
}

void mirror_ports(struct mirror *m, const struct mirror_port *ports, size_t n) {
    for (struct mirrored_port *p = m->ports; p; p = p->next)
        p->wanted = false;
    for (size_t i = 0; i < n && i < FILTER_PORTS; i++)
        want(m, &ports[i]);
    apply(m);
}

static void narrow(struct timer *timer) {
    apply(container_of(timer, struct mirror, narrow));
}

void mirror_port_left(struct mirror *m, struct mirrored_port *p) {
    CHECK(p->live > 0);
    if (--p->live == 0 && !p->wanted)
        timer_set(m->loop, &m->narrow,
                  loop_now(m->loop)); /* not at once: we may be inside the ring */
}

/* --- packets ---------------------------------------------------------------------------------------------------- */

static void on_packet(void *owner, const struct sniff_packet *p) {
    struct mirror *m = owner;
    struct ip_view ip;
    if (!m->mux || !view_ip(p->ip, p->len, &ip))
        return;
    if (ip.proto == IPPROTO_TCP && !ip.fragment)
        mirror_tcp_packet(m->tcp, p, &ip);
    else if (ip.proto == IPPROTO_UDP && p->incoming)
        mirror_udp_packet(m->udp, p, &ip);
}

static void on_batch(void *owner) {
    struct mirror *m = owner;
    mirror_tcp_flush(m->tcp);
    if (m->rate)
        mirror_tcp_limit(m->rate, loop_now(m->loop));
}

static const struct sniff_ops sniff_ops = {.packet = on_packet, .batch = on_batch};

/* --- life ------------------------------------------------------------------------------------------------------- */

static void chores(struct timer *timer) {
    struct mirror *m = container_of(timer, struct mirror, chores);
    uint64_t now = loop_now(m->loop);
    bool more = mirror_tcp_expire(m->tcp, now);
    more |= mirror_udp_expire(m->udp, now);
    if (more)
        timer_set(m->loop, &m->chores, now + MIRROR_SECOND);
}

void mirror_chores_soon(struct mirror *m) {
    if (m->chores.place == 0)
        timer_set(m->loop, &m->chores, loop_now(m->loop) + MIRROR_SECOND);
}

static void parts_free(struct mirror *m) {
    if (m->tcp)
        mirror_tcp_free(m->tcp); /* sets `narrow` */
    timer_cancel(m->loop, &m->narrow);
    timer_cancel(m->loop, &m->chores);
    if (m->udp)
        mirror_udp_free(m->udp);
    if (m->verdict)
        verdict_free(m->verdict);
    if (m->sniff)
        sniff_free(m->sniff);
    while (m->ports) {
        struct mirrored_port *p = m->ports;
        m->ports = p->next;
        free(p);
    }
    free(m);
}

struct mirror *mirror_new(struct loop *l, struct mux *mux, uint32_t target, int packet_fd,
                          int diag_fd, bool (*owns)(void *ctx, const struct endpoint *e), void *ctx,
                          struct fault *f) {
    struct mirror *m = calloc(1, sizeof *m);
    if (!m) {
        close(packet_fd);
        close(diag_fd);
        fault_set(f, ENOMEM, "make a mirror");
        return NULL;
    }
    *m = (struct mirror){
        .loop = l,
        .mux = mux,
        .target = target,
        .owns = owns,
        .ctx = ctx,
        .chores = {.fire = chores},
        .narrow = {.fire = narrow},
    };
    m->verdict = verdict_new(diag_fd);
    m->sniff = sniff_new(l, packet_fd, &sniff_ops, m, f);
    m->tcp = mirror_tcp_new(m);
    m->udp = mirror_udp_new(m);
    if (m->sniff && m->verdict && m->tcp && m->udp)
        return m;
    if (m->sniff)
        fault_set(f, ENOMEM, "make a mirror");
    parts_free(m);
    return NULL;
}

void mirror_free(struct mirror *m) {
    sniff_close(m->sniff);
    m->mux = NULL;
    parts_free(m);
}

void mirror_limit(struct mirror *m, struct mirror_rate *rate, const uint32_t *most) {
    m->rate = rate;
    m->most = most;
}

bool mirror_is_full(const struct mirror *m) {
    return m->most && *m->most != 0 && mux_channels(m->mux) >= *m->most;
}

void mirror_choose(struct mirror *m, const struct http_filter *filter) {
    m->filter = filter;
}

size_t mirror_seen_get(const struct mirror *m, struct mirror_seen *out, size_t capacity) {
    size_t n = 0;
    for (const struct mirrored_port *p = m->ports; p && n < capacity; p = p->next)
        if (p->port.proto == IPPROTO_TCP)
            out[n++] = p->seen;
    return n;
}

void mirror_conntrack(struct mirror *m, int fd) {
    verdict_conntrack(m->verdict, fd);
}

void mirror_counters_get(const struct mirror *m, struct mirror_counters *c) {
    *c = m->counters;
    c->lost_packets += sniff_lost(m->sniff) + mirror_udp_lost(m->udp);
}

const struct fault *mirror_fault(const struct mirror *m) {
    return m->fault.text[0] ? &m->fault : NULL;
}
