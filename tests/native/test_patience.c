/* When a loop looks for events before it sleeps: only while that pays, and the loop is none the worse for it. */
#include "check.h"
#include "loop.h"
#include "patience.h"

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOST 20000

static void nobody_looks_unasked(void) {
    struct patience p = {0};
    for (int i = 0; i < 10; i++)
        patience_waited(&p, 0);
    EXPECT(patience_look(&p) == 0);
}

static void looks_while_it_pays(void) {
    struct patience p = {.most = MOST};
    EXPECT(patience_look(&p) == 0);
    patience_waited(&p, MOST + 1);
    EXPECT(patience_look(&p) == 0);
    patience_waited(&p, MOST);
    EXPECT(patience_look(&p) == MOST);
    patience_waited(&p, MOST + 1);
    EXPECT(patience_look(&p) == 0);
}

/* An answer that comes at once, then a client that thinks: the answers are still looked for. */
static void every_other_one_is_enough(void) {
    struct patience p = {.most = MOST};
    patience_waited(&p, 5000);
    for (int i = 0; i < 100; i++) {
        patience_waited(&p, 5000);
        EXPECT(patience_look(&p) == MOST);
        patience_waited(&p, 1000 * 1000);
        EXPECT(patience_look(&p) == MOST);
    }
}

/* However long it has paid: what is in vain is bounded. */
static void trust_is_used_up(void) {
    struct patience p = {.most = MOST};
    for (int i = 0; i < 100000; i++)
        patience_waited(&p, 5000);
    int vain = 0;
    for (; patience_look(&p) > 0; vain++)
        patience_waited(&p, 1000 * 1000);
    EXPECT(vain == PATIENCE_TRUST);
}

struct echo {
    struct loop_fd io;
    struct timer timer;
    struct loop *loop;
    int count, back;
    bool fired, asked;
};

enum { PINGS = 5000 };

static void answer(struct loop_fd *io, uint32_t events) {
    struct echo *e = container_of(io, struct echo, io);
    uint64_t n;
    EXPECT(events & EPOLLIN && read(io->fd, &n, sizeof n) == sizeof n);
    e->count++;
    EXPECT(write(e->back, &n, sizeof n) == sizeof n);
}

static void stop_after_both(struct echo *e) {
    if (e->fired && e->asked)
        loop_stop(e->loop);
}

static void fire(struct timer *t) {
    struct echo *e = container_of(t, struct echo, timer);
    e->fired = true;
    stop_after_both(e);
}

static void asked(void *arg) {
    struct echo *e = arg;
    e->asked = true;
    stop_after_both(e);
}

static void *ping(void *arg) {
    struct echo *e = arg;
    uint64_t n = 1;
    for (int i = 0; i < PINGS; i++)
        EXPECT(write(e->io.fd, &n, sizeof n) == sizeof n &&
               read(e->back, &n, sizeof n) == sizeof n);
    loop_call(e->loop, asked, e);
    return NULL;
}

/* Events, timers and calls come to a loop that looks as to one that sleeps. */
static void a_loop_that_looks(void) {
    struct fault f;
    struct echo e = {.io = {.fd = eventfd(0, EFD_NONBLOCK), .ready = answer},
                     .timer = {.fire = fire}};
    pthread_t thread;
    e.loop = loop_new(&f);
    e.back = eventfd(0, 0);
    EXPECT(e.loop && loop_add(e.loop, &e.io, EPOLLIN, &f) == 0);
    loop_be_patient(e.loop, 1000 * 1000);
    timer_set(e.loop, &e.timer, loop_now(e.loop) + 1000 * 1000);
    EXPECT(pthread_create(&thread, NULL, ping, &e) == 0);
    EXPECT(loop_run(e.loop, &f) == 0);
    EXPECT(pthread_join(thread, NULL) == 0 && e.count == PINGS && e.fired);
    loop_del(e.loop, &e.io);
    loop_free(e.loop);
    close(e.io.fd);
    close(e.back);
}

static const struct test tests[] = {
    TEST(nobody_looks_unasked), TEST(looks_while_it_pays), TEST(every_other_one_is_enough),
    TEST(trust_is_used_up),     TEST(a_loop_that_looks),
};
CHECK_MAIN(tests)
