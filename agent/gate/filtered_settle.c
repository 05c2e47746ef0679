/* After a call of the exchange: what was left is offered again while that gets anywhere, then the end is looked for, the raw octets
 * among them: the connection then is a relay's (conn.c), with what both sides have in hand. */
#include "agent/gate/filtered_inner.h"

#include <stdlib.h>

/* True: something more was taken. */
static bool offer_held(struct filtered *f, unsigned which) {
    struct party *p = filtered_party(f, which);
    if (!p || p->io.fd < 0 || (p->held_n == 0 && (!p->eof || p->eof_taken)))
        return false;
    size_t n = exchange_offer(f->exchange, which, p->held, p->held_n, p->eof, filtered_now(f));
    p = filtered_party(f, which);
    if (!p || p->io.fd < 0) /* it was cut */
        return true;
    bool ended = p->eof && !p->eof_taken && n == p->held_n && f->raw == NOT_RAW;
    p->eof_taken |= ended;
    party_took(p, n);
    return n > 0 || ended;
}

/* Both directions of an app's leg have ended: it may be asked for again. */
static void forget_done(struct filtered *f) {
    for (unsigned k = 0; k < EXCHANGE_APPS; k++) {
        struct party *p = f->party[EXCHANGE_APP + k];
        if (!p || (p->io.fd >= 0 && !(p->eof_taken && p->shut)))
            continue;
        party_close(p, false);
        free(p);
        f->party[EXCHANGE_APP + k] = NULL;
    }
}

/* In order at the end: all was sent and said. */
static bool all_said(struct filtered *f) {
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++) {
        const struct party *p = filtered_party(f, i);
        if (p && p->io.fd >= 0 && !p->broken && (p->out.len || p->connecting))
            return false;
    }
    return true;
}

/* A party becomes an end of the relay: its socket, what it has not taken, and what has ended. */
static void hand_end(struct party *p, struct relay_end *e) {
    struct loop *loop = p->owner->conn->gate->loop;
    loop_del(loop, &p->io);
    e->io.fd = p->io.fd;
    e->pair = p->pair;
    e->shut = p->shut;
    e->broken = p->broken;
    e->eof = p->eof;
    e->out = p->out;
    p->out = (struct backlog){0};
    p->io.fd = -1;
}

static void go_raw(struct filtered *f) {
    struct conn *c = f->conn;
    struct party *client = &f->first[EXCHANGE_CLIENT], *with = filtered_party(f, (unsigned)f->raw);
    if (client->io.fd < 0 || !with || with->io.fd < 0 || with->asked) {
        conn_destroy(c, true);
        return;
    }
    bool kept = true, connecting = with->connecting;
    unsigned slot = (unsigned)f->raw - EXCHANGE_APP;
    hand_end(client, &c->relay.end[CLIENT]);
    hand_end(with, &c->relay.end[OTHER]);
    handover_move(&c->gate->handover, &with->offer, &c->offer);
    c->relay.end[OTHER].ended = with->ended;
    kept = relay_push(&c->relay, CLIENT, with->held, with->held_n) &&
           relay_push(&c->relay, OTHER, client->held, client->held_n);
    if (f->raw >= EXCHANGE_APP)
        conn_has_app(c, c->port->slot[slot].session, c->port->rules.slot[slot].link_lost_after);
    c->filtered = NULL;
    filtered_free(f, false);
    if (kept)
        conn_relay(c, connecting);
    else
        conn_destroy(c, true);
}

static void set_deadline(struct filtered *f) {
    struct loop *loop = f->conn->gate->loop;
    uint64_t when = exchange_deadline(f->exchange);
    if (when == EXCHANGE_NEVER)
        timer_cancel(loop, &f->deadline);
    else
        timer_set(loop, &f->deadline, when * MILLISECOND);
}

bool filtered_settle(struct filtered *f) {
    for (bool more = true; more && !f->cut && f->raw == NOT_RAW;) {
        more = false;
        for (unsigned i = 0; i < EXCHANGE_PARTIES && !f->cut && f->raw == NOT_RAW; i++)
            more |= offer_held(f, i);
    }
    if (f->cut) {
        conn_destroy(f->conn, true);
        return false;
    }
    if (f->raw != NOT_RAW) {
        go_raw(f);
        return false;
    }
    forget_done(f);
    if (exchange_over(f->exchange) && all_said(f)) {
        conn_destroy(f->conn, false);
        return false;
    }
    set_deadline(f);
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++)
        if (filtered_party(f, i))
            party_watch(filtered_party(f, i));
    return true;
}
