/* A connection's way to an app: offered to the engine, given to the target if that has no taker, held while the link is lost. */
#include "agent/gate/conn_inner.h"

#define MILLISECOND (1000ull * 1000)

static void link_lost(struct timer *t) {
    conn_destroy(container_of(t, struct conn, lost), true);
}

static void answered(struct handover_offer *o, enum handover_answer what, int err) {
    struct conn *c = container_of(o, struct conn, offer);
    (void)err;
    if (what == HANDOVER_ACCEPTED) {
        if (c->state == CONN_OFFERED)
            conn_start_relay(c);
    } else if (what == HANDOVER_ENDED) {
        relay_ends(&c->relay, OTHER);
    } else if (
        c->state ==
        CONN_OFFERED) { /* nothing was sent to it: the target's, as if it had never been asked */
        conn_drop_other(c, false);
        conn_to_target(c);
    } else { /* TCP, too, hands out what came before a reset */
        relay_last_words(&c->relay, OTHER);
        conn_destroy(c, !c->relay.end[CLIENT].shut); /* the client has all of it, end included */
    }
}

int conn_offer(struct conn *c, struct handover_offer *o, uint64_t session, uint32_t target,
               uint16_t app_port) {
    struct handover_words words = {.session = session,
                                   .target = target,
                                   .app_port = app_port,
                                   .client = c->peer,
                                   .own = c->own.addr};
    return handover_offer(&c->gate->handover, o, &words, NULL);
}

void conn_has_app(struct conn *c, uint64_t session, uint32_t link_lost_after) {
    c->offer.answered = answered;
    c->lost.fire = link_lost;
    c->session = session;
    c->link_lost_after = link_lost_after;
    if (!gate_is_up(c->gate, session))
        timer_set(c->gate->loop, &c->lost, loop_now(c->gate->loop) + link_lost_after * MILLISECOND);
}

void conn_to_app(struct conn *c, const struct want_rule *r) {
    struct relay_end *e = &c->relay.end[OTHER];
    c->state = CONN_OFFERED;
    conn_has_app(c, r->session->number, r->session->link_lost_after);
    e->io.fd = conn_offer(c, &c->offer, c->session, r->target, r->app_port);
    e->pair = true;
    if (e->io.fd < 0) {
        conn_drop_other(c, false);
        conn_to_target(c);
    } else if (!conn_watch_client(c)) {
        conn_destroy(c, true);
    }
}

void conn_link_is(struct conn *c, bool up) {
    struct loop *loop = c->gate->loop;
    if (up) {
        timer_cancel(loop, &c->lost);
    } else if (c->state == CONN_OFFERED) {
        conn_drop_other(c, true);
        conn_to_target(c);
    } else {
        timer_set(loop, &c->lost, loop_now(loop) + c->link_lost_after * MILLISECOND);
    }
}
