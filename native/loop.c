/* The loop: wait, hand out the events, fire the timers that are due, run the calls and the tasks; then again.
 *
 * An event names its loop_fd by a serial (place in a table and a generation), not by a pointer: one that was deleted or
 * freed by an earlier event of the same batch is then simply not found. Timers are a binary min-heap over one timerfd, which is
 * set again only for an earlier deadline or after it has expired: a timeout of epoll_wait(2) would program the CPU's timer
 * for every sleep and take it back at every waking, which on a virtual machine costs more than all else the kernel does there.
 * Calls from other threads are a list under a mutex, with the caller asleep on a condition until its call is done.
 */
#include "loop.h"

#include "patience.h"
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 128 };

/* What epoll says of the loop's own fds; serials of others have a place in their lower half. */
#define WAKE  0ull
#define CLOCK (1ull << 32)

struct slot {
    struct loop_fd *fd; /* NULL: free */
    uint32_t generation;
    uint32_t next_free;
};

struct call {
    void (*fn)(void *arg);
    void *arg;
    struct call *next;
    bool done;
};

struct loop {
    int epoll;
    int wake;  /* an eventfd: calls wait, or loop_stop */
    int clock; /* a timerfd */
    uint64_t now;
    uint64_t armed; /* when the timerfd expires; 0: it is not set */
    struct patience patience;
    bool gives_way;

    struct slot *slots; /* slots[0] is not used, so that no serial is 0 */
    uint32_t slot_count;
    uint32_t slot_free; /* 0: none */

    struct timer **heap;
    uint32_t timers, heap_size;

    struct task *first, *last;
    uint32_t tasks;

    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows; held by callers who run their own call */
    pthread_cond_t finished;
    struct call *calls, **calls_end;
    bool running;
    pthread_t owner; /* while running */
};

static uint64_t clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct loop *loop_new(struct fault *f) {
    struct loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        fault_set(f, ENOMEM, "make an event loop");
        return NULL;
    }
    l->slot_count = 1;
    l->calls_end = &l->calls;
    l->now = clock_now();
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->finished, NULL);
    l->wake = l->clock = -1;
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll < 0) {
        fault_set(f, errno, "make an epoll instance");
        goto free_loop;
    }
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = WAKE};
    if (l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &ev) != 0) {
        fault_set(f, errno, "make an eventfd");
        goto free_loop;
    }
    l->clock = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    ev.data.u64 = CLOCK;
    if (l->clock < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->clock, &ev) != 0) {
        fault_set(f, errno, "make a timerfd");
        goto free_loop;
    }
    return l;

free_loop:
    loop_free(l);
    return NULL;
}

void loop_free(struct loop *l) {
    if (l == NULL)
        return;
    CHECK(l->timers == 0 && l->tasks == 0 && l->calls == NULL && !l->running);
    for (uint32_t i = 1; i < l->slot_count; i++)
        CHECK(l->slots[i].fd == NULL);
    if (l->clock >= 0)
        close(l->clock);
    if (l->wake >= 0)
        close(l->wake);
    if (l->epoll >= 0)
        close(l->epoll);
    pthread_cond_destroy(&l->finished);
    pthread_mutex_destroy(&l->lock);
    free(l->slots);
    free(l->heap);
    free(l);
}

/* --- fds ---------------------------------------------------------------------------------------------------------- */

/* Doubles the table of slots; its size is bounded by the process's limit of fds. */
static bool grow_slots(struct loop *l) {
    uint32_t count = l->slot_count < 64 ? 64 : l->slot_count * 2;
    struct slot *slots = realloc(l->slots, count * sizeof *slots);
    if (slots == NULL)
        return false;
    for (uint32_t i = l->slot_count; i < count; i++)
        slots[i] = (struct slot){.next_free = i + 1 < count ? i + 1 : 0};
    l->slot_free = l->slot_count;
    l->slots = slots;
    l->slot_count = count;
    return true;
}

static struct slot *slot_of(struct loop *l, uint64_t serial) {
    uint32_t place = (uint32_t)serial;
    if (place == 0 || place >= l->slot_count)
        return NULL;
    struct slot *slot = &l->slots[place];
    return slot->fd != NULL && slot->generation == serial >> 32 ? slot : NULL;
}

static int control(struct loop *l, int op, struct loop_fd *h, uint32_t events) {
    struct epoll_event ev = {.events = events, .data.u64 = h->serial};
    return epoll_ctl(l->epoll, op, h->fd, &ev);
}

int loop_add(struct loop *l, struct loop_fd *h, uint32_t events, struct fault *f) {
    CHECK(h->ready != NULL);
    if (l->slot_free == 0 && !grow_slots(l))
        return fault_set(f, ENOMEM, "watch fd %d", h->fd);
    uint32_t place = l->slot_free;
    struct slot *slot = &l->slots[place];
    h->serial = (uint64_t)slot->generation << 32 | place;
    if (events != 0 && control(l, EPOLL_CTL_ADD, h, events) != 0) {
        h->serial = 0;
        return fault_set(f, errno, "watch fd %d", h->fd);
    }
    l->slot_free = slot->next_free;
    slot->fd = h;
    h->events = events;
    return 0;
}

void loop_watch(struct loop *l, struct loop_fd *h, uint32_t events) {
    if (h->events == events)
        return;
    CHECK(slot_of(l, h->serial) != NULL);
    int op = h->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    h->events = events;
    CHECK(control(l, op, h, events) == 0); /* it fails for a closed fd or for want of memory only */
}

void loop_del(struct loop *l, struct loop_fd *h) {
    struct slot *slot = slot_of(l, h->serial);
    if (slot == NULL || slot->fd != h)
        return;
    if (h->events != 0)
        control(l, EPOLL_CTL_DEL, h,
                0); /* fails if the fd was closed: then epoll has forgotten it by itself */
    slot->fd = NULL;
    slot->generation++;
    slot->next_free = l->slot_free;
    l->slot_free = (uint32_t)h->serial;
    h->serial = 0;
    h->events = 0;
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

uint64_t loop_now(const struct loop *l) {
    return l->now;
}

static void put(struct loop *l, uint32_t place, struct timer *t) {
    l->heap[place - 1] = t;
    t->place = place;
}

/* Moves `t`, for which there is a hole at `place`, to where it belongs. */
static void settle(struct loop *l, uint32_t place, struct timer *t) {
    while (place > 1 && l->heap[place / 2 - 1]->deadline > t->deadline) {
        put(l, place, l->heap[place / 2 - 1]);
        place /= 2;
    }
    for (;;) {
        uint32_t child = place * 2;
        if (child > l->timers)
            break;
        if (child < l->timers && l->heap[child]->deadline < l->heap[child - 1]->deadline)
            child++;
        if (l->heap[child - 1]->deadline >= t->deadline)
            break;
        put(l, place, l->heap[child - 1]);
        place = child;
    }
    put(l, place, t);
}

void timer_set(struct loop *l, struct timer *t, uint64_t deadline) {
    CHECK(t->fire != NULL);
    t->deadline = deadline;
    if (t->place != 0) {
        settle(l, t->place, t);
        return;
    }
    if (l->timers ==
        l->heap_size) { /* 8 octets for each timer, and each timer lives in an owner that was allocated */
        uint32_t size = l->heap_size == 0 ? 64 : l->heap_size * 2;
        struct timer **heap = realloc(l->heap, size * sizeof(struct timer *));
        CHECK(heap != NULL);
        l->heap = heap;
        l->heap_size = size;
    }
    l->timers++;
    settle(l, l->timers, t);
}

void timer_cancel(struct loop *l, struct timer *t) {
    uint32_t place = t->place;
    if (place == 0)
        return;
    t->place = 0;
    struct timer *last = l->heap[--l->timers];
    if (last != t)
        settle(l, place, last);
}

static void fire_timers(struct loop *l) {
    while (l->timers > 0 && l->heap[0]->deadline <= l->now) {
        struct timer *t = l->heap[0];
        timer_cancel(l, t);
        t->fire(t);
    }
}

/* Sees to it that the timerfd expires in time for the first timer. One that expires too early (its timer was cancelled or
 * moved) wakes the loop once for nothing. */
static void arm(struct loop *l) {
    if (l->timers == 0)
        return;
    uint64_t due = l->heap[0]->deadline > 0 ? l->heap[0]->deadline : 1; /* 0 would disarm it */
    if (l->armed != 0 && l->armed <= due)
        return;
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)}};
    CHECK(timerfd_settime(l->clock, TFD_TIMER_ABSTIME, &when, NULL) == 0);
    l->armed = due;
}

static void expired(struct loop *l) {
    uint64_t count;
    ssize_t n = read(l->clock, &count, sizeof count);
    (void)n;
    l->armed = 0;
}

/* --- tasks -------------------------------------------------------------------------------------------------------- */

void loop_defer(struct loop *l, struct task *t) {
    if (t->queued)
        return;
    t->queued = true;
    t->next = NULL;
    t->prev = l->last;
    *(l->last != NULL ? &l->last->next : &l->first) = t;
    l->last = t;
    l->tasks++;
}

void loop_undefer(struct loop *l, struct task *t) {
    if (!t->queued)
        return;
    *(t->prev != NULL ? &t->prev->next : &l->first) = t->next;
    *(t->next != NULL ? &t->next->prev : &l->last) = t->prev;
    t->queued = false;
    l->tasks--;
}

/* As many as there were at the start: what they defer themselves waits for the next batch. */
static void run_tasks(struct loop *l) {
    for (uint32_t n = l->tasks; n > 0 && l->first != NULL; n--) {
        struct task *t = l->first;
        loop_undefer(l, t);
        t->run(t);
    }
}

/* --- calls -------------------------------------------------------------------------------------------------------- */

static void wake(struct loop *l) {
    uint64_t one = 1;
    ssize_t n = write(l->wake, &one,
                      sizeof one); /* fails only when the counter is full, and then it is awake */
    (void)n;
}

void loop_stop(struct loop *l) {
    atomic_store(&l->stop, true);
    wake(l);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&l->lock);
    if (!l->running) {
        l->now = clock_now();
        fn(arg);
        pthread_mutex_unlock(&l->lock);
        return;
    }
    CHECK(!pthread_equal(l->owner, pthread_self())); /* it would wait for itself */
    struct call call = {.fn = fn, .arg = arg};
    *l->calls_end = &call;
    l->calls_end = &call.next;
    wake(l);
    while (!call.done)
        pthread_cond_wait(&l->finished, &l->lock);
    pthread_mutex_unlock(&l->lock);
}

/* Without the lock while a call runs, so that others may queue meanwhile. A call that is done is not touched again: it
 * lay on its caller's stack. */
static void run_calls(struct loop *l) {
    uint64_t count;
    ssize_t n = read(l->wake, &count, sizeof count);
    (void)n;
    pthread_mutex_lock(&l->lock);
    while (l->calls != NULL) {
        struct call *call = l->calls;
        l->calls = call->next;
        if (l->calls == NULL)
            l->calls_end = &l->calls;
        pthread_mutex_unlock(&l->lock);
        call->fn(call->arg);
        pthread_mutex_lock(&l->lock);
        call->done = true;
        pthread_cond_broadcast(&l->finished);
    }
    pthread_mutex_unlock(&l->lock);
}

/* --- running ------------------------------------------------------------------------------------------------------ */

static void hand_out(struct loop *l, const struct epoll_event *events, int count) {
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == WAKE) {
            run_calls(l);
            continue;
        }
        if (events[i].data.u64 == CLOCK) {
            expired(l);
            continue;
        }
        struct slot *slot = slot_of(l, events[i].data.u64);
        if (slot != NULL)
            slot->fd->ready(slot->fd, events[i].events);
    }
}

/* With tasks queued nothing is waited for. */
static int wait_for_events(struct loop *l, struct epoll_event *events) {
    if (l->tasks > 0)
        return epoll_wait(l->epoll, events, BATCH, 0);
    arm(l);
    if (l->patience.most == 0)
        return epoll_wait(l->epoll, events, BATCH, -1);
    uint64_t since = clock_now(), now = since, until = since + patience_look(&l->patience);
    int count = 0;
    for (; count == 0 && now < until; now = clock_now())
        count = epoll_wait(l->epoll, events, BATCH, 0);
    if (count == 0) {
        count = epoll_wait(l->epoll, events, BATCH, -1);
        now = clock_now();
    }
    patience_waited(&l->patience, now - since);
    return count;
}

static int turn(struct loop *l, struct fault *f) {
    struct epoll_event events[BATCH];
    int count = wait_for_events(l, events);
    if (count < 0 && errno != EINTR)
        return fault_set(f, errno, "wait for events");
    l->now = clock_now();
    hand_out(l, events, count);
    fire_timers(l);
    run_tasks(l);
    return 0;
}

/* On one CPU nothing comes while we look. */
void loop_be_patient(struct loop *l, uint64_t ns) {
    l->patience = (struct patience){.most = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? ns : 0};
}

void loop_give_way(struct loop *l) {
    l->gives_way = true;
}

int loop_run(struct loop *l, struct fault *f) {
    pthread_mutex_lock(&l->lock);
    CHECK(!l->running);
    l->running = true;
    l->owner = pthread_self();
    pthread_mutex_unlock(&l->lock);

    if (l->gives_way)
        thread_gives_way();
    else
        thread_short_turns();

    int result = 0;
    while (result == 0 && !atomic_load(&l->stop))
        result = turn(l, f);

    run_calls(l); /* those who queued while the last batch ran */
    pthread_mutex_lock(&l->lock);
    while (l->calls !=
           NULL) { /* and those who queued since; from here on callers help themselves */
        struct call *call = l->calls;
        l->calls = call->next;
        call->fn(call->arg);
        call->done = true;
    }
    l->calls_end = &l->calls;
    l->running = false;
    atomic_store(&l->stop, false);
    pthread_cond_broadcast(&l->finished);
    pthread_mutex_unlock(&l->lock);
    return result;
}
