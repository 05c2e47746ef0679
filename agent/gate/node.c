/* See node.h. */
#include "agent/gate/node.h"

#include "agent/gate/filtered.h"
#include "agent/gate/probe.h"
#include "agent/http/http2_frame.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* The target's: what was looked at is still there to be read. */
static void leave_to_target(struct conn *c) {
    if (c->relay.end[OTHER].io.fd < 0)
        conn_destroy(c, true); /* it could not be dialled */
    else
        conn_relay(c, c->dialling);
}

static void unwatch(struct conn *c) {
    for (int i = 0; i < 2; i++)
        if (c->relay.end[i].io.serial)
            loop_del(c->gate->loop, &c->relay.end[i].io);
}

/* What it wants it says only when it has heard the target: a request at a time, also at a port that is stolen whole. */
static void judge_each(struct conn *c) {
    if (c->relay.end[OTHER].io.fd < 0 || c->gate->draining || c->port->rules.count == 0) {
        leave_to_target(c);
        return;
    }
    unwatch(c);
    c->may_probe = true;
    if (!filtered_start(c))
        conn_destroy(c, true);
}

/* No probe. By filter the target's connection is wanted in any case; whole, it is reset and not closed in order: should the app
 * refuse, another one comes from the same client's port, which the target must not know as taken. */
static void judge_anew(struct conn *c) {
    unwatch(c);
    if (!conn_is_filtered(c))
        conn_drop_other(c, true);
    conn_decide(c);
}

/* Nothing is read here, only looked at; so the kernel is asked for edges. A connection that ends without a word is the
 * target's. */
static void client_spoke(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[CLIENT].io);
    uint8_t octets[PROBE_PEEK];
    (void)events;
    ssize_t n = recv(io->fd, octets, sizeof octets, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    enum probe_verdict verdict = PROBE_YES;
    if (n > 0)
        verdict = probe_judge(c->gate->want, c->own.port, octets, (size_t)n);
    if (n < 0) {
        conn_destroy(c, true);
    } else if (verdict == PROBE_YES) {
        leave_to_target(c);
    } else if (verdict == PROBE_NO) {
        judge_anew(c);
    } else if (verdict == PROBE_WAITS) {
        judge_each(c);
    }
}

/* Connected or refused; or it speaks first: HTTP/2's SETTINGS, or a connection that is its own. */
static void target_spoke(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[OTHER].io);
    int err = 0;
    socklen_t len = sizeof err;
    (void)events;
    uint8_t first[HTTP2_HEAD];
    if (!c->dialling) {
        ssize_t n = recv(io->fd, first, sizeof first, MSG_PEEK | MSG_DONTWAIT);
        if (n > 0 && http2_frame_is_settings(first, (size_t)n))
            judge_each(c);
        else
            leave_to_target(c);
        return;
    }
    c->dialling = false;
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err)
        conn_drop_other(c, true);
    else
        loop_watch(c->gate->loop, io, EPOLLIN);
}

void node_start(struct conn *c) {
    struct loop *loop = c->gate->loop;
    struct loop_fd *client = &c->relay.end[CLIENT].io, *target = &c->relay.end[OTHER].io;
    c->state = CONN_PROBING;
    c->dialling = true;
    target->fd = conn_dial(c);
    target->ready = target_spoke;
    client->ready = client_spoke;
    if (target->fd < 0 || loop_add(loop, target, EPOLLOUT, NULL) != 0 ||
        loop_add(loop, client, EPOLLIN | EPOLLET, NULL) != 0)
        conn_destroy(c, true);
}

bool node_may_probe(const struct conn *c) {
    const struct want *w = c->gate->want;
    if (!want_is_node(w, &c->peer.addr) || !probe_expected(w, c->own.port))
        return false;
    for (uint32_t i = 0; i < w->rules; i++)
        if (w->rule[i].port == c->own.port && w->rule[i].session->flags & WANT_STEAL_PROBES)
            return false;
    return true;
}
