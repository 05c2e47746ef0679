/* See accepted.h. */
#include "layer/netstack/accepted.h"
#include "layer/netstack/engine.h"

#include <errno.h>
#include <time.h>

#define MICROSECOND 1000ull
#define FIRST       (30 * MICROSECOND) /* an app that sleeps in accept(2) or epoll(7) has woken by then */
#define LAST        (5000 * MICROSECOND) /* an app that stands still is looked at 200 times a second */
#define PART        4                    /* of the time that it has waited, until the next look */
#define DEFERRED    (500 * MICROSECOND) /* a handshake that is not over by then waits for octets */
#define LOOKS       16                  /* at once; the others' turn is next */
#define REST        8                   /* times as long as the looks took, nothing is looked at */

static uint64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void next_look(struct netstack *ns, uint64_t spent) {
    struct accepted *a = &ns->accepted;
    uint64_t now = loop_now(ns->loop), pause = (now - a->last) / PART;
    if (list_empty(&a->waiting))
        return;
    pause = pause < FIRST ? FIRST : pause > LAST ? LAST : pause;
    if (pause < spent * REST)
        pause = spent * REST;
    timer_set(ns->loop, &a->timer, now + pause);
}

/* Without an answer of the kernel's it is as if there was no such question. */
static void look_at(struct flow *f) {
    struct netstack *ns = f->ns;
    switch (sockdiag_server(ns->listeners.diag, &f->app, &f->peer, NULL)) {
    case SOCKDIAG_WAITS:
        return;
    case SOCKDIAG_SHAKING: /* our ACK may not have been looked at yet */
        if (loop_now(ns->loop) - f->shaken_at >= DEFERRED)
            syn_input(f, IN_ACCEPTED);
        return;
    case SOCKDIAG_NONE: /* its reset is on the way to us */
        f->why = ECONNREFUSED;
        syn_input(f, IN_VANISHED);
        return;
    default:
        syn_input(f, IN_ACCEPTED);
    }
}

static void look(struct timer *t) {
    struct accepted *a = container_of(t, struct accepted, timer);
    struct netstack *ns = container_of(a, struct netstack, accepted);
    uint64_t began = clock_ns();
    for (int i = 0; i < LOOKS && !list_empty(&a->waiting); i++) {
        struct flow *f = container_of(a->waiting.next, struct flow, waits);
        list_append(&a->waiting, &f->waits);
        look_at(f);
    }
    next_look(ns, clock_ns() - began);
}

void accepted_wait(struct flow *f) {
    struct netstack *ns = f->ns;
    struct accepted *a = &ns->accepted;
    if (f->mirror ||
        ns->listeners.diag < 0) { /* what is lost of it is nobody's, or nobody can be asked */
        syn_input(f, IN_ACCEPTED);
        return;
    }
    a->last = f->shaken_at = loop_now(ns->loop);
    list_append(&a->waiting, &f->waits);
    next_look(ns, 0);
}

void accepted_heard(struct flow *f) {
    if (f->state == FLOW_QUEUED)
        syn_input(f, IN_ACCEPTED);
}

void accepted_init(struct netstack *ns) {
    list_init(&ns->accepted.waiting);
    ns->accepted.timer.fire = look;
}

void accepted_stop(struct netstack *ns) {
    timer_cancel(ns->loop, &ns->accepted.timer);
}
