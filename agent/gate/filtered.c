/* See filtered.h: how it begins and ends, and what others tell it. */
#include "agent/gate/filtered_inner.h"

#include <stdlib.h>
#include <sys/epoll.h>

static void tick(struct timer *t) {
    struct filtered *f = container_of(t, struct filtered, deadline);
    exchange_tick(f->exchange, filtered_now(f));
    filtered_settle(f);
}

void filtered_link(struct filtered *f, unsigned slot, bool up) {
    exchange_link(f->exchange, slot, up, filtered_now(f));
    filtered_settle(f);
}

void filtered_gone(struct filtered *f, uint32_t slots) {
    for (; slots && !f->cut && f->raw == NOT_RAW; slots &= slots - 1)
        exchange_gone(f->exchange, (unsigned)__builtin_ctz(slots), filtered_now(f));
    filtered_settle(f);
}

void filtered_drain(struct filtered *f) {
    exchange_drain(f->exchange, filtered_now(f));
    filtered_settle(f);
}

bool filtered_start(struct conn *c) {
    struct filtered *f = calloc(1, sizeof *f);
    struct loop *loop = c->gate->loop;
    struct loop_fd *client = &c->relay.end[CLIENT].io;
    if (!f)
        return false;
    f->conn = c;
    f->raw = NOT_RAW;
    f->deadline.fire = tick;
    f->later.run = filtered_say_refused;
    f->exchange = exchange_new(&filtered_ops, f, &c->port->rules);
    for (int i = 0; i < 2; i++) {
        f->first[i] =
            (struct party){.gate = c->gate, .owner = f, .io = {.fd = -1, .ready = filtered_ready}};
        f->party[i] = &f->first[i];
    }
    struct party *target = &f->first[EXCHANGE_TARGET];
    bool dialled = c->relay.end[OTHER].io.fd >= 0;
    target->connecting = !dialled || c->dialling;
    target->io.fd = dialled ? c->relay.end[OTHER].io.fd : conn_dial(c);
    c->relay.end[OTHER].io.fd = -1;
    f->first[EXCHANGE_CLIENT].io.fd = client->fd;
    if (!f->exchange || target->io.fd < 0 || loop_add(loop, &f->first[0].io, EPOLLIN, NULL) != 0 ||
        loop_add(loop, &target->io, target->connecting ? EPOLLOUT : EPOLLIN, NULL) != 0) {
        f->first[EXCHANGE_CLIENT].io.fd = -1;
        filtered_free(f, true);
        return false;
    }
    client->fd = -1;
    c->filtered = f;
    c->state = CONN_FILTERED;
    return true;
}

void filtered_free(struct filtered *f, bool reset) {
    struct loop *loop = f->conn->gate->loop;
    timer_cancel(loop, &f->deadline);
    loop_undefer(loop, &f->later);
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++)
        if (filtered_party(f, i))
            party_close(filtered_party(f, i), reset);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        free(f->party[EXCHANGE_APP + k]);
    exchange_free(f->exchange);
    free(f);
}
