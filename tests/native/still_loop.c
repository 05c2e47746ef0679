/* See still_loop.h. Fds are asked by poll(2), and never waited for; timers and fds are short lists. */
#include "still_loop.h"

#include "check.h"

#include <poll.h>
#include <sys/epoll.h>

enum { FDS = 64, TIMERS = 4096 };

struct loop {
    uint64_t now, serial;
    struct loop_fd *fds[FDS];
    int fd_count;
    struct timer *timers[TIMERS]; /* timer.place is the index + 1 */
    uint32_t timer_count;
    struct task *tasks[TIMERS];
    uint32_t task_count;
};

struct loop *loop_new(struct fault *f) {
    (void)f;
    struct loop *l = calloc(1, sizeof *l);
    l->now = 1000000 * STILL_SECOND;
    return l;
}

void loop_free(struct loop *l) {
    EXPECT(l->fd_count == 0 && l->timer_count == 0 && l->task_count == 0);
    free(l);
}

/* What runs it is the test. */
int loop_run(struct loop *l, struct fault *f) {
    (void)l;
    return fault_set(f, 0, "this loop is moved by hand");
}

void loop_stop(struct loop *l) {
    (void)l;
}

void loop_give_way(struct loop *l) {
    (void)l;
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg) {
    (void)l;
    fn(arg);
}

uint64_t loop_now(const struct loop *l) {
    return l->now;
}

/* --- fds ---------------------------------------------------------------------------------------------------------- */

int loop_add(struct loop *l, struct loop_fd *h, uint32_t events, struct fault *f) {
    (void)f;
    EXPECT(l->fd_count < FDS && h->ready);
    h->serial = ++l->serial;
    h->events = events;
    l->fds[l->fd_count++] = h;
    return 0;
}

void loop_watch(struct loop *l, struct loop_fd *h, uint32_t events) {
    (void)l;
    h->events = events;
}

void loop_del(struct loop *l, struct loop_fd *h) {
    for (int i = 0; i < l->fd_count; i++) {
        if (l->fds[i] == h) {
            l->fds[i] = l->fds[--l->fd_count];
            h->serial = 0;
            h->events = 0;
            return;
        }
    }
}

/* One event of one fd; poll's bits are epoll's. */
static bool hand_out(struct loop *l) {
    for (int i = 0; i < l->fd_count; i++) {
        struct loop_fd *h = l->fds[i];
        struct pollfd p = {.fd = h->fd, .events = (short)h->events};
        if (h->events && poll(&p, 1, 0) > 0) {
            h->ready(h, (uint32_t)p.revents);
            return true;
        }
    }
    return false;
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

void timer_set(struct loop *l, struct timer *t, uint64_t deadline) {
    t->deadline = deadline;
    if (t->place)
        return;
    EXPECT(l->timer_count < TIMERS && t->fire);
    l->timers[l->timer_count++] = t;
    t->place = l->timer_count;
}

void timer_cancel(struct loop *l, struct timer *t) {
    if (!t->place)
        return;
    struct timer *last = l->timers[--l->timer_count];
    l->timers[t->place - 1] = last;
    last->place = t->place;
    t->place = 0;
}

uint32_t still_timers(const struct loop *l) {
    return l->timer_count;
}

/* The earliest that is due by `until`, or NULL. */
static struct timer *earliest(const struct loop *l, uint64_t until) {
    struct timer *first = NULL;
    for (uint32_t i = 0; i < l->timer_count; i++)
        if (l->timers[i]->deadline <= until && (!first || l->timers[i]->deadline < first->deadline))
            first = l->timers[i];
    return first;
}

static bool fire_one(struct loop *l) {
    struct timer *t = earliest(l, l->now);
    if (!t)
        return false;
    timer_cancel(l, t);
    t->fire(t);
    return true;
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

void loop_defer(struct loop *l, struct task *t) {
    if (t->queued)
        return;
    EXPECT(l->task_count < TIMERS && t->run);
    t->queued = true;
    l->tasks[l->task_count++] = t;
}

void loop_undefer(struct loop *l, struct task *t) {
    uint32_t i = 0;
    if (!t->queued)
        return;
    while (l->tasks[i] != t)
        i++;
    memmove(&l->tasks[i], &l->tasks[i + 1], (--l->task_count - i) * sizeof *l->tasks);
    t->queued = false;
}

static bool run_one(struct loop *l) {
    if (!l->task_count)
        return false;
    struct task *t = l->tasks[0];
    loop_undefer(l, t);
    t->run(t);
    return true;
}

/* --- the test's hand ---------------------------------------------------------------------------------------------- */

void still_settle(struct loop *l) {
    while (hand_out(l) || fire_one(l) || run_one(l))
        ;
}

void still_pass(struct loop *l, uint64_t ns) {
    uint64_t until = l->now + ns;
    struct timer *t;
    still_settle(l);
    while ((t = earliest(l, until))) {
        l->now = t->deadline;
        still_settle(l);
    }
    l->now = until;
}
