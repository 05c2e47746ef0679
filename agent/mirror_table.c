/* The table of the target's connections: found by their ends, listed by age, bounded, forgotten in time. Knows no packet. */
#include "agent/mirror_conn.h"

#include <errno.h>
#include <stdlib.h>

#define CHAINS         8192
#define CONNS_MOST     16384 /* about 400 octets each, what `budget` pays for aside */
#define HALF_OPEN_MOST 4096  /* a flood of SYNs pushes out the oldest of its own kind only */
#define BUDGET         (64u * 1024 * 1024) /* all that is not acknowledged or not yet taken by the app */
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

struct conn *conn_find(const struct mirror_tcp *t, const struct endpoint *client,
                       const struct endpoint *own, bool loopback) {
    struct conn *c;
    LIST_FOREACH(c, &t->chains[chain_of(client, own)], chain) {
        if (c->loopback == loopback && endpoint_equal(&c->client, client) &&
            endpoint_equal(&c->own, own))
            return c;
    }
    return NULL;
}

struct conn *conn_find_origin(const struct mirror_tcp *t, const struct endpoint *origin,
                              const struct endpoint *own) {
    struct conn *c;
    LIST_FOREACH(c, &t->chains[CHAINS + chain_of(origin, own)], answers) {
        if (endpoint_equal(&c->origin, origin) && endpoint_equal(&c->own, own))
            return c;
    }
    return NULL;
}

/* A gate's connection: what the target answers has the gate's own address, and the client's only where the gate reads it. */
static void look_for_origin(struct conn *c) {
    struct mirror_tcp *t = c->table;
    if (!c->loopback || !verdict_origin(t->mirror->verdict, &c->own, &c->client, &c->origin))
        return;
    LIST_INSERT_HEAD(&t->chains[CHAINS + chain_of(&c->origin, &c->own)], c, answers);
}

static void unchain(struct conn *c) {
    LIST_REMOVE(c, chain);
    if (c->origin.addr.family)
        LIST_REMOVE(c, answers);
    c->origin = (struct endpoint){0};
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
        c->seen = loop_now(t->mirror->loop);
    }
}

/* A half-open one has its time from its SYN on, whatever comes again of it. */
void conn_see(struct conn *c) {
    uint64_t now = loop_now(c->table->mirror->loop);
    if (now - c->seen < MIRROR_SECOND || c->phase <= PHASE_ANSWERED)
        return;
    c->seen = now;
    TAILQ_REMOVE(list_of(c), c, age);
    TAILQ_INSERT_TAIL(list_of(c), c, age);
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
        unchain(c);
        t->half_open -= c->phase <= PHASE_ANSWERED;
    }
    if (c->is_touched)
        TAILQ_REMOVE(&t->touched, c, touched);
    conn_spends_no_more(c);
    sieve_free(c->sieve);
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
    if (!channel_attached(&c->channel) && !c->sieve) {
        conn_free(c);
        return;
    }
    TAILQ_REMOVE(list_of(c), c, age);
    unchain(c);
    c->hashed = false;
    c->seen = loop_now(c->table->mirror->loop);
    TAILQ_INSERT_TAIL(&c->table->leaving, c, age);
}

struct conn *conn_new(struct mirror_tcp *t, const struct endpoint *client,
                      const struct endpoint *own, struct mirrored_port *port, enum phase phase,
                      int ifindex, bool loopback) {
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
    c->loopback = loopback;
    c->phase = (uint8_t)phase;
    c->hashed = true;
    c->late = phase == PHASE_MIDDLE;
    c->seen = loop_now(t->mirror->loop);
    http_edge_begin(&c->edge);
    LIST_INSERT_HEAD(&t->chains[chain_of(client, own)], c, chain);
    look_for_origin(c);
    TAILQ_INSERT_TAIL(list_of(c), c, age);
    t->conns++;
    t->half_open += phase <= PHASE_ANSWERED;
    mirror_chores_soon(t->mirror);
    if (t->mirror->owns(t->mirror->ctx, client))
        conn_set_phase(c, PHASE_IGNORED);
    return c;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

struct mirror_tcp *mirror_tcp_new(struct mirror *m) {
    struct mirror_tcp *t = calloc(1, sizeof *t);
    if (t && !(t->chains = calloc((size_t)2 * CHAINS, sizeof *t->chains))) {
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
    free(t->scratch);
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
            conn_see(c);
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
