/* See conn.h: whose a connection is, and its ends. */
#include "agent/gate/conn_inner.h"
#include "agent/gate/filtered.h"
#include "agent/gate/node.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- ends ----------------------------------------------------------------------------------------------------------- */

static void close_end(struct conn *c, int which, bool reset) {
    struct relay_end *e = &c->relay.end[which];
    if (e->io.serial)
        loop_del(c->gate->loop, &e->io);
    if (e->io.fd < 0)
        return;
    if (!reset && !e->pair)
        setsockopt(e->io.fd, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0}, sizeof(struct linger));
    close(e->io.fd);
    e->io.fd = -1;
}

/* Whatever the other end was: nothing of it is left. */
void conn_drop_other(struct conn *c, bool reset) {
    struct gate *g = c->gate;
    close_end(c, OTHER, reset);
    c->relay.end[OTHER].pair = c->relay.end[OTHER].ended = c->relay.end[OTHER].doubted = false;
    handover_forget(&g->handover, &c->offer, reset);
    timer_cancel(g->loop, &c->lost);
    clients_release(g->clients, &c->from);
}

void conn_destroy(struct conn *c, bool reset) {
    struct gate *g = c->gate;
    if (c->filtered)
        filtered_free(c->filtered, reset);
    relay_stop(&c->relay);
    close_end(c, CLIENT, reset);
    conn_drop_other(c, reset);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    free(c);
    g->conn_count--;
    gate_conn_gone(g);
}

static void over(struct relay *r, bool reset) {
    conn_destroy(container_of(r, struct conn, relay), reset);
}

/* --- while another side is waited for --------------------------------------------------------------------------------- */

/* While an answer is waited for, the client is watched for its going away and not read. */
static void client_gone(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[CLIENT].io);
    (void)events;
    conn_destroy(c, true);
}

bool conn_watch_client(struct conn *c) {
    struct loop_fd *io = &c->relay.end[CLIENT].io;
    io->ready = client_gone;
    if (!io->serial)
        return loop_add(c->gate->loop, io, EPOLLERR, NULL) == 0;
    loop_watch(c->gate->loop, io, EPOLLERR);
    return true;
}

void conn_start_relay(struct conn *c) {
    c->state = CONN_RELAY;
    int started = relay_start(&c->relay, NULL);
    if (started != 0)
        conn_destroy(c, started < 0);
}

/* --- whose it is ---------------------------------------------------------------------------------------------------- */

static const struct want_rule *rule_for(const struct gate *g, uint16_t port) {
    for (uint32_t i = 0; i < g->want->rules; i++) {
        const struct want_rule *r = &g->want->rule[i];
        if (r->port == port && r->whole && gate_is_up(g, r->session->number))
            return r;
    }
    return NULL;
}

static struct conn *make(struct port *port, const struct door_caller *caller) {
    struct gate *g = port->gate;
    struct conn *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->gate = g;
    c->port = port;
    c->peer = caller->peer;
    c->own = caller->own;
    c->scope = caller->scope;
    c->relay = (struct relay){.desk = &g->desk, .over = over};
    c->relay.end[CLIENT].io.fd = caller->fd;
    c->relay.end[OTHER].io.fd = -1;
    c->relay.end[OTHER].sized = true; /* conn_target.c */
    c->next = g->conns;
    c->link = &g->conns;
    if (c->next)
        c->next->link = &c->next;
    g->conns = c;
    g->conn_count++;
    return c;
}

bool conn_is_filtered(const struct conn *c) {
    const struct gate *g = c->gate;
    return !g->draining && !rule_for(g, c->own.port) && !c->port->whole && c->port->rules.count > 0;
}

/* A new connection, or one from the node that is no probe. */
void conn_decide(struct conn *c) {
    struct gate *g = c->gate;
    const struct want_rule *r = g->draining ? NULL : rule_for(g, c->own.port);
    if (r) {
        tally_of(&g->tallies, r->session->number, r->port)->stolen++;
        conn_to_app(c, r);
    } else if (!conn_is_filtered(c)) {
        conn_to_target(c);
    } else if (!filtered_start(c)) {
        conn_destroy(c, true);
    }
}

void conn_new(struct port *port, const struct door_caller *caller) {
    struct conn *c = make(port, caller);
    if (!c) {
        close(caller->fd);
        return;
    }
    if (node_may_probe(c))
        node_start(c);
    else
        conn_decide(c);
}

/* --- all of them ---------------------------------------------------------------------------------------------------- */

void conn_link(struct gate *g, uint64_t session, bool up) {
    for (struct conn *c = g->conns, *next; c; c = next) {
        next = c->next;
        if (c->filtered) {
            int slot = port_slot_of(c->port, session);
            if (slot >= 0)
                filtered_link(c->filtered, (unsigned)slot, up);
        } else if (c->offer.number && c->session == session) {
            conn_link_is(c, up);
        }
    }
}

void conn_gone(struct port *port, uint32_t slots) {
    for (struct conn *c = port->gate->conns, *next; slots && c; c = next) {
        next = c->next;
        if (c->port == port && c->filtered)
            filtered_gone(c->filtered, slots);
    }
}

void conn_drain(struct gate *g) {
    for (struct conn *c = g->conns, *next; c; c = next) {
        next = c->next;
        if (c->filtered)
            filtered_drain(c->filtered);
    }
}

bool conn_is_ours(const struct gate *g, const struct endpoint *client, uint16_t port) {
    for (const struct conn *c = g->conns; c; c = c->next)
        if (c->from.port && c->own.port == port && endpoint_equal(&c->peer, client))
            return true;
    return false;
}

void conn_reset_all(struct gate *g) {
    while (g->conns)
        conn_destroy(g->conns, true);
}
