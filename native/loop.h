/* One epoll loop with one owner thread: fds, timers, work to do after the batch, and calls from other threads. */
#pragma once

#include "fault.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;

/* Embedded in its owner. `ready` gets epoll's event bits; EPOLLERR and EPOLLHUP come unasked, but not to one who watches
 * nothing (`events` 0): a full owner is not woken for what it cannot take. After loop_del it is not called again, not even
 * for an event of the batch under way. */
struct loop_fd {
    int fd;
    uint32_t events; /* what is watched now */
    void (*ready)(struct loop_fd *self, uint32_t events);
    uint64_t serial; /* the loop's; 0: not registered */
};

/* Embedded in its owner (zeroed, but for `fire`); fires once. A min-heap: set, move and cancel cost O(log n). */
struct timer {
    void (*fire)(struct timer *self);
    uint64_t deadline; /* ns, CLOCK_MONOTONIC */
    uint32_t place;    /* heap index + 1; 0: not set */
};

/* Embedded in its owner (zeroed, but for `run`); runs once after the events of this batch (for flushing what they
 * gathered). One that defers itself again runs after the next batch, which then does not wait. */
struct task {
    void (*run)(struct task *self);
    struct task *next, *prev;
    bool queued;
};

struct loop *loop_new(struct fault *f);
void loop_free(struct loop *l); /* nothing may still be registered */
/* Until loop_stop: 0; or -1 when epoll itself failed. */
int loop_run(struct loop *l, struct fault *f);
/* Looks for events for so long before it sleeps, while that pays (patience.h); 0, as at first: never. */
void loop_be_patient(struct loop *l, uint64_t ns);
/* Before loop_run, whose thread then gives way to others (thread_gives_way), where it else has short turns. */
void loop_give_way(struct loop *l);
/* From any thread; also ahead of loop_run, which then returns at once. */
void loop_stop(struct loop *l);

int loop_add(struct loop *l, struct loop_fd *h, uint32_t events, struct fault *f);
/* No system call if nothing changes. */
void loop_watch(struct loop *l, struct loop_fd *h, uint32_t events);
void loop_del(struct loop *l, struct loop_fd *h); /* does not close the fd */

uint64_t loop_now(const struct loop *l); /* ns; taken once a batch */
void timer_set(struct loop *l, struct timer *t, uint64_t deadline);
void timer_cancel(struct loop *l, struct timer *t);

void loop_defer(struct loop *l, struct task *t); /* nothing happens if it is queued already */
void loop_undefer(struct loop *l, struct task *t);

/* Runs fn(arg) on the owner's thread and returns when it is done. From any other thread; when the loop does not run
 * (not yet, or no more) it is run by the caller under a lock, one caller at a time. `fn` must not wait for another thread. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);
