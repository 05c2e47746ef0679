/* See conn.h. */
#include "agent/gate/conn_inner.h"
#include "agent/gate/filtered.h"
#include "agent/gate/node.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MILLISECOND (1000ull * 1000)

/* What is under way to or from the target over lo: its round trip is microseconds, so this fills it. Left to itself the kernel lets
 * tens of MiB lie there, which have left every cache when they are read: measured, one spliced stream went from 24.6 and 25.5 Gbit/s
 * (to and from the target) to 31.6 and 37.6. The client's side may be far away, and is the kernel's to size. */
#define TARGET_BUFFER (256 * 1024)

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

/* While an answer is waited for, the client is watched for its going away and not read. */
static void client_gone(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[CLIENT].io);
    (void)events;
    conn_destroy(c, true);
}

static bool watch_client(struct conn *c) {
    struct loop_fd *io = &c->relay.end[CLIENT].io;
    io->ready = client_gone;
    if (!io->serial)
        return loop_add(c->gate->loop, io, EPOLLERR, NULL) == 0;
    loop_watch(c->gate->loop, io, EPOLLERR);
    return true;
}

static void start_relay(struct conn *c) {
    c->state = CONN_RELAY;
    int started = relay_start(&c->relay, NULL);
    if (started != 0)
        conn_destroy(c, started < 0);
}

/* --- the target ----------------------------------------------------------------------------------------------------- */

static void dialled(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[OTHER].io);
    int err = 0;
    socklen_t len = sizeof err;
    (void)events;
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err)
        conn_destroy(c, true);
    else
        start_relay(c);
}

/* A socket at one of the gate's ports, in the client's name; -1. */
static int target_socket(struct conn *c) {
    int fd = socket(c->own.addr.family == 4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    static const int mark = (int)RULES_MARK, one = 1, room = TARGET_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /*privileged CAP_NET_ADMIN: SO_MARK, by which the rules know the gate's own connections. */
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0 &&
        clients_bind(c->gate->clients, fd, &c->own, &c->peer, c->scope, &c->from, NULL) == 0)
        return fd;
    close(fd);
    return -1;
}

int conn_dial(struct conn *c) {
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(&c->own, &sa);
    if (c->own.addr.family == 6)
        ((struct sockaddr_in6 *)&sa)->sin6_scope_id = c->scope;
    int fd = target_socket(c);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    clients_release(c->gate->clients, &c->from);
    return -1;
}

static void await_target(struct conn *c) {
    struct loop_fd *io = &c->relay.end[OTHER].io;
    c->state = CONN_DIALLING;
    io->ready = dialled;
    if (io->fd < 0 || !watch_client(c) ||
        (!io->serial && loop_add(c->gate->loop, io, EPOLLOUT, NULL) != 0))
        conn_destroy(c, true);
}

static void to_target(struct conn *c) {
    c->relay.end[OTHER].io.fd = conn_dial(c);
    await_target(c);
}

void conn_relay(struct conn *c, bool connecting) {
    if (connecting)
        await_target(c);
    else
        start_relay(c);
}

/* --- an app --------------------------------------------------------------------------------------------------------- */

static void link_lost(struct timer *t) {
    conn_destroy(container_of(t, struct conn, lost), true);
}

static void answered(struct handover_offer *o, enum handover_answer what, int err) {
    struct conn *c = container_of(o, struct conn, offer);
    (void)err;
    if (what == HANDOVER_ACCEPTED) {
        if (c->state == CONN_OFFERED)
            start_relay(c);
    } else if (what == HANDOVER_ENDED) {
        relay_ends(&c->relay, OTHER);
    } else if (
        c->state ==
        CONN_OFFERED) { /* nothing was sent to it: the target's, as if it had never been asked */
        conn_drop_other(c, false);
        to_target(c);
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
    c->session = session;
    c->link_lost_after = link_lost_after;
    if (!gate_is_up(c->gate, session))
        timer_set(c->gate->loop, &c->lost, loop_now(c->gate->loop) + link_lost_after * MILLISECOND);
}

static void to_app(struct conn *c, const struct want_rule *r) {
    struct relay_end *e = &c->relay.end[OTHER];
    c->state = CONN_OFFERED;
    conn_has_app(c, r->session->number, r->session->link_lost_after);
    e->io.fd = conn_offer(c, &c->offer, c->session, r->target, r->app_port);
    e->pair = true;
    if (e->io.fd < 0) {
        conn_drop_other(c, false);
        to_target(c);
    } else if (!watch_client(c)) {
        conn_destroy(c, true);
    }
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
    c->lost.fire = link_lost;
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
    return !g->draining && !rule_for(g, c->own.port) && c->port->rules.count > 0;
}

/* A new connection, or one from the node that is no probe. */
void conn_decide(struct conn *c) {
    struct gate *g = c->gate;
    const struct want_rule *r = g->draining ? NULL : rule_for(g, c->own.port);
    if (r) {
        tally_of(&g->tallies, r->session->number, r->port)->stolen++;
        to_app(c, r);
    } else if (!conn_is_filtered(c)) {
        to_target(c);
    } else if (!filtered_start(c)) {
        conn_destroy(c, true);
    }
}

/* --- accepted ------------------------------------------------------------------------------------------------------- */

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

static void link_is(struct conn *c, bool up) {
    struct loop *loop = c->gate->loop;
    if (up) {
        timer_cancel(loop, &c->lost);
    } else if (c->state == CONN_OFFERED) {
        conn_drop_other(c, true);
        to_target(c);
    } else {
        timer_set(loop, &c->lost, loop_now(loop) + c->link_lost_after * MILLISECOND);
    }
}

void conn_link(struct gate *g, uint64_t session, bool up) {
    for (struct conn *c = g->conns, *next; c; c = next) {
        next = c->next;
        if (c->filtered) {
            int slot = port_slot_of(c->port, session);
            if (slot >= 0)
                filtered_link(c->filtered, (unsigned)slot, up);
        } else if (c->offer.number && c->session == session) {
            link_is(c, up);
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
