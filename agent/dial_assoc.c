/* See dial_assoc.h. */
#include "agent/dial_assoc.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static struct loop *loop_of(const struct assoc *a) {
    return a->target->desk->loop;
}

static void close_socket(struct assoc *a, struct assoc_socket *s) {
    if (s->io.fd < 0)
        return;
    loop_del(loop_of(a), &s->io);
    close(s->io.fd);
    own_remove(a->target->own, s->own, loop_now(loop_of(a)));
}

static void destroy(struct assoc *a) {
    close_socket(a, &a->v4);
    close_socket(a, &a->v6);
    timer_cancel(loop_of(a), &a->idle);
    dial_leave(&a->dial);
    free(a);
}

static void drop(struct dial *self, int err) {
    struct assoc *a = container_of(self, struct assoc, dial);
    channel_reset(&a->channel, err);
    destroy(a);
}

void assoc_used(struct assoc *a) {
    a->used = loop_now(loop_of(a));
}

void assoc_took(struct assoc *a, const struct endpoint *peer, const uint8_t *p, size_t n) {
    struct outgoing *out = a->target->out;
    assoc_used(a);
    if (!shaper_datagram(&out->down, n))
        return;
    out->received += n;
    channel_datagram(&a->channel, peer, p, n);
}

static void grew_idle(struct timer *t) {
    struct assoc *a = container_of(t, struct assoc, idle);
    if (loop_now(loop_of(a)) - a->used >= DIAL_IDLE)
        drop(&a->dial, 0);
    else
        timer_set(loop_of(a), t, a->used + DIAL_IDLE);
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct assoc_socket *s = container_of(self, struct assoc_socket, io);
    if (events & EPOLLERR)
        s->owner->kind->errors(s);
    s->owner->kind->take(s);
}

/* 0, or an errno. */
static int open_socket(struct assoc *a, struct assoc_socket *s) {
    struct fault f;
    int fd = a->kind->make(a, s->family);
    if (fd < 0)
        return errno;
    s->io.fd = fd;
    if (loop_add(loop_of(a), &s->io, EPOLLIN, &f) < 0) {
        close(fd);
        s->io.fd = -1;
        return f.err;
    }
    s->own = a->kind->owned ? dial_own(a->target, fd) : NULL;
    return 0;
}

/* 0, or an errno. What the session's rate drops is no error: nor would a router on the way tell. */
static int send_on(struct assoc *a, const struct endpoint *peer, const uint8_t *p, size_t n) {
    struct outgoing *out = a->target->out;
    struct assoc_socket *s = peer->addr.family == 4 ? &a->v4 : &a->v6;
    if (!reach_allows(&out->reach, &peer->addr))
        return EACCES;
    if (!shaper_datagram(&out->up, n))
        return 0;
    out->sent += n;
    int err = s->io.fd < 0 ? open_socket(a, s) : 0;
    if (err)
        return err;
    if (!a->spoke)
        out->opened++;
    a->spoke = true;
    return a->kind->send(s, peer, p, n);
}

static void on_datagram(struct channel *c, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    struct assoc *a = container_of(c, struct assoc, channel);
    assoc_used(a);
    int err = send_on(a, peer, p, n);
    if (err)
        channel_unreachable(c, peer, err);
}

static void on_eof(struct channel *c) {
    channel_eof(c);
    destroy(container_of(c, struct assoc, channel));
}

static void on_reset(struct channel *c, int err) {
    (void)err;
    destroy(container_of(c, struct assoc, channel));
}

static const struct channel_ops ops = {.datagram = on_datagram, .eof = on_eof, .reset = on_reset};

struct assoc *assoc_open(struct target *t, const struct assoc_kind *kind) {
    struct assoc *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->target = t;
    a->kind = kind;
    a->v4 = (struct assoc_socket){.io = {.fd = -1, .ready = ready}, .owner = a, .family = 4};
    a->v6 = (struct assoc_socket){.io = {.fd = -1, .ready = ready}, .owner = a, .family = 6};
    assoc_used(a);
    a->idle.fire = grew_idle;
    timer_set(loop_of(a), &a->idle, a->used + DIAL_IDLE);
    dial_join(t, &a->dial, drop);
    channel_accept(&a->channel, &ops, DIAL_WINDOW);
    return a;
}
