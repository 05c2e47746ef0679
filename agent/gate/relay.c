/* See relay.h.
 *
 * A direction begins with recv(2) and send(2) and one buffer for all. One that fills that buffer whole gets a pipe (splice.h)
 * until it no longer does. */
#include "agent/gate/relay.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READS_IN_A_ROW = 8 }; /* then others get their turn */

static struct relay_end *other(struct relay *r, const struct relay_end *e) {
    return &r->end[e == &r->end[0]];
}

/* What it was given and has not taken. */
static bool owes(const struct relay_end *e) {
    return e->out.len > 0 || (e->pipe && e->pipe->len > 0);
}

static bool may_read(struct relay *r, const struct relay_end *e) {
    const struct relay_end *o = other(r, e);
    return !e->eof && !e->doubted && (!owes(o) || o->broken);
}

/* An end that has said EOF and was told of the other's has nothing more to say, not even an error. */
static void watch(struct relay *r, struct relay_end *e) {
    uint32_t events = 0;
    if (owes(e))
        events |= EPOLLOUT;
    if (may_read(r, e))
        events |= EPOLLIN;
    if (e->eof && !e->shut)
        events |= EPOLLERR;
    loop_watch(r->desk->loop, &e->io, events);
}

static bool in_order(const struct relay_end *e) {
    return e->eof && e->shut;
}

/* True: `r` may be no more. */
static bool finish(struct relay *r) {
    if (!in_order(&r->end[0]) || !in_order(&r->end[1]))
        return false;
    r->over(r, false);
    return true;
}

/* The other's EOF is told once `e` has taken everything before it. */
static void tell_end(struct relay *r, struct relay_end *e) {
    if (e->shut || owes(e) || !other(r, e)->eof)
        return;
    shutdown(e->io.fd, SHUT_WR);
    e->shut = true;
}

/* A socket pair's other end that was closed whole, by a process that died or by one that meant a reset. In order it is
 * closed only after this end was shut too. */
static bool vanished(const struct relay_end *e) {
    struct pollfd p = {.fd = e->io.fd};
    return e->pair && !e->shut && poll(&p, 1, 0) == 1 && p.revents & POLLHUP;
}

static void drop_pipe(struct relay *r, struct relay_end *e) {
    if (e->pipe)
        splice_give(r->desk->pipes, e->pipe);
    e->pipe = NULL;
}

static void drop_out(struct relay *r, struct relay_end *e, int err) {
    e->broken = err;
    drop_pipe(r, e);
    backlog_clear(&e->out, r->desk->pool);
}

/* What `to` does not take waits. False: no memory for it. */
static bool pass(struct relay *r, struct relay_end *to, const uint8_t *p, size_t n) {
    if (to->broken)
        return true;
    ssize_t sent = send(to->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        drop_out(r, to, errno);
        return true;
    }
    size_t done = sent > 0 ? (size_t)sent : 0;
    return done == n || backlog_push(&to->out, r->desk->pool, p + done, n - done);
}

/* `from` has ended: 0 in order, or an errno. True: `r` may be no more. */
static bool ended(struct relay *r, struct relay_end *from, int err) {
    if (err || from->broken || vanished(from)) {
        r->over(r, true);
        return true;
    }
    from->doubted = from->pair && from->shut && !from->ended;
    if (from->doubted)
        return false;
    from->eof = true;
    tell_end(r, other(r, from));
    return finish(r);
}

/* Octets read and passed on; 0 for EOF; or -1 and errno. */
static ssize_t carry(struct relay *r, struct relay_end *from, struct relay_end *to) {
    if (to->pipe) {
        ssize_t n = splice_fill(to->pipe, from->io.fd);
        if (n > 0 && splice_drain(to->pipe, to->io.fd) != 0)
            drop_out(r, to, errno);
        return n;
    }
    ssize_t n = recv(from->io.fd, r->desk->scratch, RELAY_READ, MSG_DONTWAIT);
    if (n <= 0 || pass(r, to, r->desk->scratch, (size_t)n))
        return n;
    errno = ENOMEM;
    return -1;
}

/* True: `r` may be no more. */
static bool read_end(struct relay *r, struct relay_end *from) {
    struct relay_end *to = other(r, from);
    for (int i = 0; i < READS_IN_A_ROW && may_read(r, from); i++) {
        ssize_t n = carry(r, from, to);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            break;
        if (n <= 0)
            return ended(r, from, n < 0 ? errno : 0);
        if (n < RELAY_READ)
            break;
        if (!to->pipe && !to->broken && !to->out.len)
            to->pipe = splice_take(r->desk->pipes);
        if (to->pipe && !from->sized && !from->pair)
            splice_from(from->io.fd);
        from->sized |= to->pipe != NULL;
    }
    if (to->pipe && !to->pipe->len) /* it has come to a pause; others may have the pipe */
        drop_pipe(r, to);
    return false;
}

static void flush(struct relay *r, struct relay_end *e) {
    bool by_pipe = e->pipe && e->pipe->len;
    if (by_pipe ? splice_drain(e->pipe, e->io.fd) != 0
                : backlog_flush(&e->out, r->desk->pool, e->io.fd) < 0)
        drop_out(r, e, errno);
    if (e->pipe && !e->pipe->len && other(r, e)->eof)
        drop_pipe(r, e);
    tell_end(r, e);
}

static void ready(struct relay *r, struct relay_end *e, uint32_t events) {
    if (owes(e) && events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
        flush(r, e);
    if (finish(r))
        return;
    if (may_read(r, e) && events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        if (read_end(r, e))
            return;
    } else if (e->eof && !e->shut && events & (EPOLLERR | EPOLLHUP)) {
        r->over(r, true); /* it was to take something yet, and takes nothing any more */
        return;
    }
    watch(r, e);
    watch(r, other(r, e));
}

static void ready0(struct loop_fd *io, uint32_t events) {
    struct relay *r = container_of(io, struct relay, end[0].io);
    ready(r, &r->end[0], events);
}

static void ready1(struct loop_fd *io, uint32_t events) {
    struct relay *r = container_of(io, struct relay, end[1].io);
    ready(r, &r->end[1], events);
}

int relay_start(struct relay *r, struct fault *f) {
    r->end[0].io.ready = ready0;
    r->end[1].io.ready = ready1;
    for (int i = 0; i < 2; i++)
        if (!r->end[i].io.serial && loop_add(r->desk->loop, &r->end[i].io, 0, f) != 0) {
            relay_stop(r);
            return -1;
        }
    for (int i = 0; i < 2; i++)
        flush(r, &r->end[i]);
    for (int i = 0; i < 2; i++) /* whether one is read depends on what the other has not taken */
        watch(r, &r->end[i]);
    return in_order(&r->end[0]) && in_order(&r->end[1]);
}

void relay_ends(struct relay *r, int which) {
    struct relay_end *e = &r->end[which];
    e->ended = true;
    if (!e->doubted || ended(r, e, 0))
        return;
    watch(r, e);
    watch(r, other(r, e));
}

void relay_last_words(struct relay *r, int from) {
    struct relay_end *e = &r->end[from];
    for (int i = 0; i < READS_IN_A_ROW && may_read(r, e); i++)
        if (carry(r, e, other(r, e)) <= 0)
            break;
}

bool relay_push(struct relay *r, int to, const void *p, size_t n) {
    const uint8_t *at = p;
    while (n > 0) {
        size_t part = n < BACKLOG_CHUNK ? n : BACKLOG_CHUNK;
        if (!backlog_push(&r->end[to].out, r->desk->pool, at, part))
            return false;
        at += part;
        n -= part;
    }
    return true;
}

void relay_stop(struct relay *r) {
    for (int i = 0; i < 2; i++) {
        if (r->end[i].io.serial)
            loop_del(r->desk->loop, &r->end[i].io);
        drop_pipe(r, &r->end[i]);
        backlog_clear(&r->end[i].out, r->desk->pool);
    }
}
