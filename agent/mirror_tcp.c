/* Connections by what packets say of them: which are new, whose they are, where they begin and end. */
#include "agent/mirror_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define CHAINS         8192
#define CONNS_MOST     16384 /* about 400 octets each, what `budget` pays for aside */
#define HALF_OPEN_MOST 4096  /* a flood of SYNs pushes out the oldest of its own kind only */
#define BUDGET         (32u * 1024 * 1024) /* all that is not acknowledged or not yet taken by the app */
#define HALF_OPEN_TIME                                                                             \
    (30 *                                                                                          \
     MIRROR_SECOND) /* four SYN-ACKs of Linux's six: later, the client's data says it is MIDDLE */
#define IDLE_TIME                                                                                  \
    (300 * MIRROR_SECOND) /* then the target is asked whether the connection still lives */
#define LEAVING_TIME  (600 * MIRROR_SECOND) /* for an app to end what the client has long ended */
#define ASKED_AT_ONCE 128 /* idle connections asked about in one go: under a millisecond */

static uint32_t chain_of(const struct endpoint *client, const struct endpoint *own) {
    return endpoint_pair_hash(client, own, 0) % CHAINS;
}

static struct conn *find(const struct mirror_tcp *t, const struct endpoint *client,
                         const struct endpoint *own) {
    struct conn *c;
    LIST_FOREACH(c, &t->chains[chain_of(client, own)], chain) {
        if (endpoint_equal(&c->client, client) && endpoint_equal(&c->own, own))
            return c;
    }
    return NULL;
}

/* --- lists ------------------------------------------------------------------------------------------------------ */

static struct conn_list *list_of(const struct conn *c) {
    struct mirror_tcp *t = c->table;
    if (!c->hashed)
        return &t->leaving;
    if (c->phase <= PHASE_ANSWERED)
        return &t->waiting;
    return c->phase == PHASE_MIDDLE || c->phase == PHASE_IGNORED ? &t->watched : &t->followed;
}

void conn_set_phase(struct conn *c, enum phase phase) {
    struct mirror_tcp *t = c->table;
    struct conn_list *from = list_of(c);
    t->half_open -= c->phase <= PHASE_ANSWERED;
    c->phase = (uint8_t)phase;
    t->half_open += c->phase <= PHASE_ANSWERED;
    struct conn_list *to = list_of(c);
    if (from != to) {
        TAILQ_REMOVE(from, c, age);
        TAILQ_INSERT_TAIL(to, c, age);
    }
}

static void see(struct conn *c) {
    uint64_t now = loop_now(c->table->mirror->loop);
    if (now - c->seen < MIRROR_SECOND)
        return;
    c->seen = now;
    if (c->phase > PHASE_ANSWERED) {
        TAILQ_REMOVE(list_of(c), c, age);
        TAILQ_INSERT_TAIL(list_of(c), c, age);
    }
}

void conn_touch(struct conn *c) {
    if (!c->is_touched)
        TAILQ_INSERT_TAIL(&c->table->touched, c, touched);
    c->is_touched = true;
}

static void conn_free(struct conn *c) {
    struct mirror_tcp *t = c->table;
    TAILQ_REMOVE(list_of(c), c, age);
    if (c->hashed) {
        LIST_REMOVE(c, chain);
        t->half_open -= c->phase <= PHASE_ANSWERED;
    }
    if (c->is_touched)
        TAILQ_REMOVE(&t->touched, c, touched);
    reassembly_drop(&c->stream);
    t->conns--;
    free(c);
}

void conn_forget(struct conn *c) {
    if (channel_attached(&c->channel)) {
        channel_reset(&c->channel, ECONNRESET);
        mirror_port_left(c->table->mirror, c->port);
    }
    conn_free(c);
}

void conn_leave(struct conn *c) {
    if (!channel_attached(&c->channel)) {
        conn_free(c);
        return;
    }
    TAILQ_REMOVE(list_of(c), c, age);
    LIST_REMOVE(c, chain);
    c->hashed = false;
    c->seen = loop_now(c->table->mirror->loop);
    TAILQ_INSERT_TAIL(&c->table->leaving, c, age);
}

static struct conn *conn_new(struct mirror_tcp *t, const struct endpoint *client,
                             const struct endpoint *own, struct mirrored_port *port,
                             enum phase phase, int ifindex) {
    if (phase <= PHASE_ANSWERED && t->half_open == HALF_OPEN_MOST)
        conn_forget(TAILQ_FIRST(&t->waiting));
    if (t->conns == CONNS_MOST && !TAILQ_EMPTY(&t->watched))
        conn_forget(
            TAILQ_FIRST(&t->watched)); /* nobody sees anything of it now; it can be found again */
    struct conn *c = t->conns < CONNS_MOST ? calloc(1, sizeof *c) : NULL;
    if (!c) {
        t->mirror->counters.dropped += phase <= PHASE_ANSWERED;
        return NULL;
    }
    c->table = t;
    c->client = *client;
    c->own = *own;
    c->port = port;
    c->ifindex = ifindex;
    c->phase = (uint8_t)phase;
    c->hashed = true;
    c->late = phase == PHASE_MIDDLE;
    c->seen = loop_now(t->mirror->loop);
    http_edge_begin(&c->edge);
    LIST_INSERT_HEAD(&t->chains[chain_of(client, own)], c, chain);
    TAILQ_INSERT_TAIL(list_of(c), c, age);
    t->conns++;
    t->half_open += phase <= PHASE_ANSWERED;
    mirror_chores_soon(t->mirror);
    if (t->mirror->owns(t->mirror->ctx, client))
        conn_set_phase(c, PHASE_IGNORED);
    return c;
}

/* --- verdicts --------------------------------------------------------------------------------------------------- */

static bool ask(struct conn *c) {
    if (!c->is_own)
        c->is_own = verdict_is_own(c->table->mirror->verdict, &c->own, &c->client, c->ifindex);
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
    if (c->phase == PHASE_FOLLOWED && c->app_ended && c->stream.next == t->seq &&
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
    see(c);
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
    retire(c);
    c = conn_new(table, &client, &own, port, PHASE_SYN, ifindex);
    if (c && c->phase == PHASE_SYN) {
        c->isn = isn;
        begin(c, isn + 1);
    }
    return c;
}

static void from_target(struct conn *c, const struct tcp_view *t, size_t cut) {
    if ((t->flags & TCP_FLAG_SYN) && !(c = answered(c, t)))
        return;
    see(c);
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
    struct conn *c =
        conn_new(table, client, own, port, is_new ? PHASE_SYN : PHASE_MIDDLE, p->ifindex);
    if (!c)
        return;
    if (is_new) {
        c->isn = t->seq;
        begin(c, t->seq + 1);
    }
    from_client(c, t);
}

void mirror_tcp_packet(struct mirror_tcp *table, const struct sniff_packet *p,
                       const struct ip_view *ip) {
    struct tcp_view t;
    if (!view_tcp(ip, &t))
        return;
    struct endpoint from = {.addr = ip->src, .port = t.src_port},
                    to = {.addr = ip->dst, .port = t.dst_port};
    struct conn *c;
    if (p->incoming && (c = find(table, &from, &to))) {
        if (sum_is_right(p, ip))
            from_client(c, &t);
    } else if ((!p->incoming || p->loopback) && (c = find(table, &to, &from))) {
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

/* --- life ------------------------------------------------------------------------------------------------------- */

struct mirror_tcp *mirror_tcp_new(struct mirror *m) {
    struct mirror_tcp *t = calloc(1, sizeof *t);
    if (t && !(t->chains = calloc(CHAINS, sizeof *t->chains))) {
        free(t);
        t = NULL;
    }
    if (!t)
        return NULL;
    t->mirror = m;
    t->budget.limit = BUDGET;
    TAILQ_INIT(&t->waiting);
    TAILQ_INIT(&t->followed);
    TAILQ_INIT(&t->watched);
    TAILQ_INIT(&t->leaving);
    TAILQ_INIT(&t->touched);
    return t;
}

static void forget_all(struct conn_list *list) {
    while (!TAILQ_EMPTY(list))
        conn_forget(TAILQ_FIRST(list));
}

void mirror_tcp_free(struct mirror_tcp *t) {
    forget_all(&t->waiting);
    forget_all(&t->followed);
    forget_all(&t->watched);
    forget_all(&t->leaving);
    CHECK(t->conns == 0 && t->budget.held == 0);
    free(t->chains);
    free(t);
}

static void forget_on_port(struct conn_list *list, const struct mirrored_port *p) {
    for (struct conn *c = TAILQ_FIRST(list), *next; c; c = next) {
        next = TAILQ_NEXT(c, age);
        if (c->port == p)
            conn_forget(c);
    }
}

void mirror_tcp_port_gone(struct mirror_tcp *t, struct mirrored_port *p) {
    forget_on_port(&t->waiting, p);
    forget_on_port(&t->followed, p);
    forget_on_port(&t->watched, p);
    forget_on_port(&t->leaving, p);
}

static void expire_idle(struct mirror_tcp *t, struct conn_list *list, uint64_t now) {
    struct conn *c;
    for (int i = 0; i < ASKED_AT_ONCE && (c = TAILQ_FIRST(list)) && now - c->seen > IDLE_TIME;
         i++) {
        if (verdict_is_alive(t->mirror->verdict, &c->own, &c->client))
            see(c);
        else
            conn_forget(c);
    }
}

bool mirror_tcp_expire(struct mirror_tcp *t, uint64_t now) {
    struct conn *c;
    while ((c = TAILQ_FIRST(&t->waiting)) && now - c->seen > HALF_OPEN_TIME)
        conn_forget(c);
    expire_idle(t, &t->followed, now);
    expire_idle(t, &t->watched, now);
    while ((c = TAILQ_FIRST(&t->leaving)) && now - c->seen > LEAVING_TIME)
        conn_forget(c);
    return t->conns > 0;
}
