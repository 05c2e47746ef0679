/* The loop: who is called after whom, who is not called any more, and calls from many threads at once. */
#include "check.h"
#include "loop.h"
#include "outbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct loop *loop;

/* --- fds ------------------------------------------------------------------------------------------------------------ */

struct watcher {
    struct loop_fd io;
    struct watcher *victim; /* deleted and freed by whoever comes first */
    int calls;
};

static int alive;
static struct watcher *survivor;

static void kill_victim(struct loop_fd *h, uint32_t events) {
    struct watcher *w = container_of(h, struct watcher, io);
    (void)events;
    survivor = w;
    if (w->victim != NULL) {
        loop_del(loop, &w->victim->io);
        close(w->victim->io.fd);
        free(w->victim);
        w->victim = NULL;
        alive--;
    }
    loop_stop(loop);
}

/* Two fds ready in one batch, each of which frees the other: only one is ever called. */
static void deleted_within_the_batch(void) {
    loop = loop_new(NULL);
    struct watcher *w[2];
    for (int i = 0; i < 2; i++) {
        w[i] = calloc(1, sizeof *w[i]);
        w[i]->io = (struct loop_fd){.fd = eventfd(1, EFD_NONBLOCK), .ready = kill_victim};
        EXPECT(loop_add(loop, &w[i]->io, EPOLLIN, NULL) == 0);
    }
    w[0]->victim = w[1];
    w[1]->victim = w[0];
    alive = 2;
    EXPECT(loop_run(loop, NULL) == 0 && alive == 1);
    loop_del(loop, &survivor->io);
    close(survivor->io.fd);
    free(survivor);
    loop_free(loop);
}

static void count_call(struct loop_fd *h, uint32_t events) {
    (void)events;
    container_of(h, struct watcher, io)->calls++;
}

static void stop_now(struct timer *t) {
    (void)t;
    loop_stop(loop);
}

/* A peer that hung up is level-triggered: who watches nothing is not called for it, and is called again when it asks. */
static void watching_nothing(void) {
    loop = loop_new(NULL);
    int fds[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    struct watcher w = {.io = {.fd = fds[0], .ready = count_call}};
    EXPECT(loop_add(loop, &w.io, EPOLLIN, NULL) == 0);
    close(fds[1]);
    loop_watch(loop, &w.io, 0);
    struct timer t = {.fire = stop_now};
    timer_set(loop, &t, loop_now(loop) + 5000000);
    loop_run(loop, NULL);
    EXPECT(w.calls == 0);
    loop_watch(loop, &w.io, EPOLLIN);
    timer_set(loop, &t, loop_now(loop) + 1);
    loop_run(loop, NULL);
    EXPECT(w.calls > 0);
    loop_del(loop, &w.io);
    loop_del(loop, &w.io); /* twice does nothing */
    close(fds[0]);
    loop_free(loop);
}

/* --- timers and tasks ------------------------------------------------------------------------------------------------- */

enum { TIMERS = 2000 };

struct alarm_clock {
    struct timer timer;
    uint64_t due;
};

static uint64_t last_due;
static int fired;

static void in_order(struct timer *t) {
    struct alarm_clock *a = container_of(t, struct alarm_clock, timer);
    EXPECT(a->due >= last_due && loop_now(loop) >= a->due && a->timer.place == 0);
    last_due = a->due;
    fired++;
}

static uint32_t random_state = 1;

static uint32_t random_u32(void) {
    random_state = random_state * 1664525 + 1013904223;
    return random_state >> 8;
}

/* Set, moved both ways and cancelled at random: the rest fires in order, each once. */
static void timers_in_order(void) {
    static struct alarm_clock clocks[TIMERS];
    loop = loop_new(NULL);
    uint64_t now = loop_now(loop);
    int set = 0;
    last_due = 0;
    fired = 0;
    for (int i = 0; i < TIMERS; i++) {
        clocks[i] = (struct alarm_clock){.timer.fire = in_order};
        for (int round = 0; round < 3; round++) {
            clocks[i].due = now + random_u32() % 3000000;
            timer_set(loop, &clocks[i].timer, clocks[i].due);
            if (i > 0) {
                struct alarm_clock *other = &clocks[random_u32() % (uint32_t)i];
                if (other->timer.place != 0) {
                    other->due = now + random_u32() % 3000000;
                    timer_set(loop, &other->timer, other->due);
                }
            }
        }
        if (i % 3 == 0)
            timer_cancel(loop, &clocks[random_u32() % (uint32_t)(i + 1)].timer);
    }
    for (int i = 0; i < TIMERS; i++)
        set += clocks[i].timer.place != 0;
    struct timer end = {.fire = stop_now};
    timer_set(loop, &end, now + 3000001);
    loop_run(loop, NULL);
    EXPECT(fired == set && set > TIMERS / 2);
    loop_free(loop);
}

static char order[64];

struct named_task {
    struct task task;
    char name;
    struct named_task *takes_back;
    int again;
};

static void write_name(struct task *t) {
    struct named_task *n = container_of(t, struct named_task, task);
    strncat(order, &n->name, 1);
    if (n->takes_back != NULL)
        loop_undefer(loop, &n->takes_back->task);
    if (n->again-- > 0)
        loop_defer(loop, t);
    else if (n->name == 'a')
        loop_stop(loop);
}

static void tasks(void) {
    loop = loop_new(NULL);
    struct named_task a = {{.run = write_name}, 'a', NULL, 1},
                      b = {{.run = write_name}, 'b', NULL, 0};
    struct named_task c = {{.run = write_name}, 'c', NULL, 0},
                      d = {{.run = write_name}, 'd', NULL, 0};
    b.takes_back = &c;
    loop_defer(loop, &a.task);
    loop_defer(loop, &b.task);
    loop_defer(loop, &a.task); /* queued already */
    loop_defer(loop, &c.task);
    loop_defer(loop, &d.task);
    loop_run(loop, NULL);
    EXPECT(strcmp(order, "abda") == 0);
    loop_free(loop);
}

/* --- threads ------------------------------------------------------------------------------------------------------------ */

static int counter; /* the loop's own: no lock */

static void increment(void *arg) {
    (void)arg;
    counter++;
}

static void *call_often(void *arg) {
    (void)arg;
    for (int i = 0; i < 2000; i++)
        loop_call(loop, increment, NULL);
    return NULL;
}

static void *run_loop(void *arg) {
    (void)arg;
    EXPECT(loop_run(loop, NULL) == 0);
    return NULL;
}

/* Before it runs, while it runs, while it stops and afterwards. */
static void calls_from_threads(void) {
    for (int round = 0; round < 5; round++) {
        loop = loop_new(NULL);
        counter = 0;
        pthread_t callers[4], runner;
        for (int i = 0; i < 4; i++)
            pthread_create(&callers[i], NULL, call_often, NULL);
        pthread_create(&runner, NULL, run_loop, NULL);
        loop_call(loop, increment, NULL);
        pthread_join(callers[0], NULL);
        loop_stop(loop);
        pthread_join(runner, NULL);
        for (int i = 1; i < 4; i++)
            pthread_join(callers[i], NULL);
        loop_call(loop, increment, NULL);
        EXPECT(counter == 4 * 2000 + 2);
        loop_free(loop);
    }
}

/* --- the outbox -------------------------------------------------------------------------------------------------------- */

static bool readable(const struct outbox *o) {
    struct pollfd p = {.fd = outbox_fd(o), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void outbox_bounds(void) {
    struct outbox *o = outbox_new(8192, NULL);
    static uint8_t message[OUTBOX_MESSAGE], got[OUTBOX_MESSAGE];
    EXPECT(!readable(o) && outbox_pull(o, got, sizeof got) == 0);
    for (size_t round = 0; round < 100; round++) {
        size_t sizes[] = {1, 3000 + round, 4096, 500};
        for (size_t i = 0; i < 4; i++) {
            memset(message, (int)(round + i), sizes[i]);
            outbox_post(o, message, sizes[i]);
        }
        EXPECT(readable(o));
        for (size_t i = 0; i < 4; i++) {
            EXPECT(outbox_pull(o, got, sizeof got) == sizes[i]);
            EXPECT(got[0] == (uint8_t)(round + i) && got[sizes[i] - 1] == (uint8_t)(round + i));
        }
        EXPECT(!readable(o) && outbox_pull(o, got, sizeof got) == 0 && outbox_lost(o) == 0);
    }
    for (int i = 0; i < 3; i++)
        outbox_post(o, message, 4000);
    EXPECT(outbox_lost(o) == 1 && outbox_pull(o, got, sizeof got) == 4000);
    outbox_post(o, message, 4000);
    EXPECT(outbox_lost(o) == 1 && outbox_pull(o, got, sizeof got) == 4000 &&
           outbox_pull(o, got, sizeof got) == 4000);
    outbox_free(o);
}

enum { POSTS = 20000 };

static void *post_numbers(void *arg) {
    struct outbox *o = arg;
    for (uint32_t i = 0; i < POSTS; i++)
        outbox_post(o, &i, sizeof i);
    return NULL;
}

/* Pulled as Python does it: wait for the fd, pull until there is none. */
static void outbox_between_threads(void) {
    struct outbox *o = outbox_new(POSTS * 8, NULL);
    pthread_t poster;
    pthread_create(&poster, NULL, post_numbers, o);
    uint8_t got[OUTBOX_MESSAGE];
    for (uint32_t next = 0; next < POSTS;) {
        struct pollfd p = {.fd = outbox_fd(o), .events = POLLIN};
        EXPECT(poll(&p, 1, 10000) == 1);
        while (outbox_pull(o, got, sizeof got) > 0) {
            EXPECT(memcmp(got, &next, sizeof next) == 0);
            next++;
        }
    }
    pthread_join(poster, NULL);
    EXPECT(outbox_lost(o) == 0 && !readable(o));
    outbox_free(o);
}

static const struct test tests[] = {
    TEST(deleted_within_the_batch), TEST(watching_nothing),
    TEST(timers_in_order),          TEST(tasks),
    TEST(calls_from_threads),       TEST(outbox_bounds),
    TEST(outbox_between_threads),
};
CHECK_MAIN(tests)
