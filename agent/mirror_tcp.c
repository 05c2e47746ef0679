/* Connections by what packets say of them: which are new, whose they are, where they begin and end. */
#include "agent/mirror_conn.h"

#include <netinet/in.h>
#include <string.h>

/* --- verdicts --------------------------------------------------------------------------------------------------- */

static bool ask(struct conn *c) {
    const struct endpoint *origin = c->origin.addr.family ? &c->origin : &c->client;
    if (!c->is_own)
        c->is_own = verdict_is_own(c->table->mirror->verdict, &c->own, &c->client, origin,
                                   c->ifindex, c->loopback);
    return c->is_own;
}

static void follow_or_ignore(struct conn *c) {
    if (ask(c)) {
        conn_follow(c);
        return;
    }
    reassembly_drop(&c->stream);
    conn_set_phase(c, PHASE_IGNORED);
}

static void give_up(struct conn *c) {
    if (c->late && ask(c))
        c->table->mirror->counters.skipped++;
    conn_set_phase(c, PHASE_IGNORED);
}

/* --- what begins at a boundary ---------------------------------------------------------------------------------- */

static enum http_edge_line read_line(const struct conn *c) {
    uint8_t text[HTTP_EDGE_LINE + 16];
    struct iovec iov[64];
    int count = reassembly_peek(&c->stream, iov, 64);
    size_t n = 0;
    for (int i = 0; i < count; i++) {
        size_t part = iov[i].iov_len < sizeof text - n ? iov[i].iov_len : sizeof text - n;
        memcpy(text + n, iov[i].iov_base, part);
        n += part;
    }
    /* A client that cuts its request line into more pieces than this is not joined. */
    enum http_edge_line line = http_edge_line(text, n);
    return line == HTTP_EDGE_MORE && count == 64 ? HTTP_EDGE_OTHER : line;
}

static void try_line(struct conn *c) {
    enum http_edge_line line = c->stream.end <= REASSEMBLY_EOF ? read_line(c) : HTTP_EDGE_OTHER;
    if (line == HTTP_EDGE_MORE && c->stream.end == REASSEMBLY_OPEN)
        return;
    if (line == HTTP_EDGE_REQUEST) {
        c->table->mirror->counters.joined += c->late && ask(c);
        c->late = false;
        follow_or_ignore(c);
        return;
    }
    reassembly_drop(&c->stream);
    conn_set_phase(c, PHASE_MIDDLE);
    http_edge_doubt(&c->edge);
}

/* --- packets ---------------------------------------------------------------------------------------------------- */

static void begin(struct conn *c, uint32_t next) {
    reassembly_begin(&c->stream, &c->table->budget, next);
}

static void settle_followed(struct conn *c, bool reset) {
    enum reassembly_end end = (enum reassembly_end)c->stream.end;
    c->reset |= reset && end == REASSEMBLY_EOF;
    if (reassembly_readable(&c->stream) > 0 || end != REASSEMBLY_OPEN)
        conn_touch(c);
    /* Its place is free for the next one from the same port, while the app still has to hear of this. */
    if (end == REASSEMBLY_RESET || c->reset || (end == REASSEMBLY_EOF && c->target_fin))
        conn_leave(c);
}

/* After each packet. May free `c`. */
static void settle(struct conn *c, bool reset) {
    switch ((enum phase)c->phase) {
    case PHASE_SYN:
    case PHASE_ANSWERED:
        if (reset || c->stream.end != REASSEMBLY_OPEN)
            conn_forget(
                c); /* never a connection, or one that sent more before its verdict than we hold */
        return;
    case PHASE_TRYING:
        try_line(c);
        if (reset && c->phase != PHASE_FOLLOWED)
            conn_forget(c);
        return;
    case PHASE_FOLLOWED:
        settle_followed(c, reset);
        return;
    case PHASE_MIDDLE:
        if (c->edge.state == HTTP_EDGE_NEVER)
            give_up(c);
        /* fall through */
    case PHASE_IGNORED:
        if (reset || (c->client_fin && c->target_fin))
            conn_forget(c);
    }
}

/* A SYN on a connection that lives is only believed when the target answers it: anybody can forge one, and Linux answers
 * that with a mere ACK (RFC 5961 4). */
static void client_syn(struct conn *c, const struct tcp_view *t) {
    bool repeated = c->isn == t->seq && !c->late;
    c->isn = t->seq;
    if (c->phase == PHASE_SYN) {
        if (!repeated) {
            reassembly_drop(&c->stream);
            begin(c, t->seq + 1);
        }
        reassembly_client(&c->stream, t);
        settle(c, false);
    } else {
        c->syn_again |= !repeated;
    }
}

static void begin_at_boundary(struct conn *c, const struct tcp_view *t) {
    if (!http_edge_begins(&c->edge, t))
        return;
    /* An app that ended its side after an answer, where the target keeps the connection: the request gets a new one. */
    if (c->phase == PHASE_FOLLOWED && !c->sieve && c->app_ended && c->stream.next == t->seq &&
        c->stream.end == REASSEMBLY_OPEN)
        conn_cut(c, true);
    if (c->phase != PHASE_MIDDLE)
        return;
    begin(c, t->seq);
    conn_set_phase(c, PHASE_TRYING);
}

static void from_client(struct conn *c, const struct tcp_view *t) {
    if ((t->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN) {
        client_syn(c, t);
        return;
    }
    conn_see(c);
    begin_at_boundary(c, t);
    http_edge_client(&c->edge, t);
    if (c->phase != PHASE_MIDDLE && c->phase != PHASE_IGNORED)
        reassembly_client(&c->stream, t);
    c->client_fin |= (t->flags & TCP_FLAG_FIN) != 0;
    bool reset = t->flags & TCP_FLAG_RST;
    if (c->phase == PHASE_ANSWERED && (t->flags & TCP_FLAG_ACK) && !reset)
        follow_or_ignore(c);
    settle(c, reset);
}

/* Another connection has taken its place, so it was reset, seen or not. What the target acknowledged of it still counts. */
static void retire(struct conn *c) {
    if (c->phase != PHASE_FOLLOWED) {
        conn_forget(c);
        return;
    }
    c->reset = true;
    conn_touch(c);
    conn_leave(c);
}

/* The answer to a client's SYN is what makes a connection, if that SYN was seen at all. */
static struct conn *answered(struct conn *c, const struct tcp_view *t) {
    if (!c->syn_again || t->ack != c->isn + 1)
        return c;
    struct mirror_tcp *table = c->table;
    struct endpoint client = c->client, own = c->own;
    struct mirrored_port *port = c->port;
    uint32_t isn = c->isn;
    int ifindex = c->ifindex;
    bool loopback = c->loopback;
    retire(c);
    c = conn_new(table, &client, &own, port, PHASE_SYN, ifindex, loopback);
    if (c && c->phase == PHASE_SYN) {
        c->isn = isn;
        begin(c, isn + 1);
    }
    return c;
}

static void from_target(struct conn *c, const struct tcp_view *t, size_t cut) {
    if ((t->flags & TCP_FLAG_SYN) && !(c = answered(c, t)))
        return;
    conn_see(c);
    http_edge_target(&c->edge, t, cut);
    if (c->phase != PHASE_MIDDLE && c->phase != PHASE_IGNORED)
        reassembly_target(&c->stream, t);
    c->target_fin |= (t->flags & TCP_FLAG_FIN) != 0;
    bool reset = t->flags & TCP_FLAG_RST;
    if (c->phase == PHASE_SYN && (t->flags & TCP_FLAG_ACK) && !reset &&
        (int32_t)(t->ack - c->isn) > 0)
        conn_set_phase(c, PHASE_ANSWERED);
    settle(c, reset);
}

/* What the target would not believe is nothing to us either. Sums beyond 16 bits of length are the kernel's own. */
static bool sum_is_right(const struct sniff_packet *p, const struct ip_view *ip) {
    if (!p->unchecked || p->cut > 0 || ip->payload_len > 65535)
        return true;
    uint32_t sum = checksum_pseudo(&ip->src, &ip->dst, IPPROTO_TCP, (uint32_t)ip->payload_len);
    return checksum_fold(checksum_add(sum, ip->payload, ip->payload_len)) == 0;
}

static void unknown_client(struct mirror_tcp *table, const struct sniff_packet *p,
                           const struct tcp_view *t, const struct endpoint *client,
                           const struct endpoint *own) {
    struct mirrored_port *port = mirror_port_find(table->mirror, IPPROTO_TCP, own->port);
    if (!port || !port->wanted || (t->flags & TCP_FLAG_RST))
        return;
    bool is_new = (t->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
    if (!is_new && t->payload_len == 0)
        return; /* the tail of something, or an idle connection: when it says something there is time to look */
    struct conn *c = conn_new(table, client, own, port, is_new ? PHASE_SYN : PHASE_MIDDLE,
                              p->ifindex, p->loopback);
    if (!c)
        return;
    if (is_new) {
        c->isn = t->seq;
        begin(c, t->seq + 1);
    }
    from_client(c, t);
}

/* The connection that a packet of the target's belongs to. */
static struct conn *answered_to(const struct mirror_tcp *table, const struct endpoint *to,
                                const struct endpoint *own, bool loopback) {
    struct conn *c = conn_find(table, to, own, loopback);
    return c || !loopback ? c : conn_find_origin(table, to, own);
}

void mirror_tcp_packet(struct mirror_tcp *table, const struct sniff_packet *p,
                       const struct ip_view *ip) {
    struct tcp_view t;
    if (!view_tcp(ip, &t))
        return;
    struct endpoint from = {.addr = ip->src, .port = t.src_port},
                    to = {.addr = ip->dst, .port = t.dst_port};
    struct conn *c;
    if (p->incoming && (c = conn_find(table, &from, &to, p->loopback))) {
        if (sum_is_right(p, ip))
            from_client(c, &t);
    } else if ((!p->incoming || p->loopback) && (c = answered_to(table, &to, &from, p->loopback))) {
        from_target(c, &t, p->cut);
    } else if (p->incoming && sum_is_right(p, ip)) {
        unknown_client(table, p, &t, &from, &to);
    }
}

void mirror_tcp_flush(struct mirror_tcp *t) {
    struct conn *c;
    while ((c = TAILQ_FIRST(&t->touched))) {
        TAILQ_REMOVE(&t->touched, c, touched);
        c->is_touched = false;
        conn_flush(c);
    }
}
