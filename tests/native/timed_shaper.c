/* Who waits for a session's rate, by the clock: each gets his share, nobody is passed over, and nothing is left behind. */
#include "agent/shaper.h"

#include "check.h"
#include "still_loop.h"

#include <stdlib.h>

#define RATE (1000 * 1000)
#define MS   (1000ull * 1000)

enum { MANY = 10 };

/* Somebody with more to pass than there is room for, until he has `left` nothing. */
struct taker {
    struct shaped shaped;
    uint64_t left, passed;
    bool leaves; /* instead of waiting again */
};

static struct loop *loop;
static struct shaper shaper;
static struct taker takers[MANY];

static void take(struct taker *t) {
    while (t->left) {
        size_t room = shaper_room(&shaper);
        if (!room) {
            if (!t->leaves)
                shaper_wait(&shaper, &t->shaped);
            return;
        }
        size_t n = t->left < room ? (size_t)t->left : room;
        t->left -= n;
        t->passed += n;
        shaper_pass(&shaper, n);
    }
}

static void go(struct shaped *self) {
    take(container_of(self, struct taker, shaped));
}

static void make(uint64_t rate) {
    loop = loop_new(NULL);
    shaper_init(&shaper, loop);
    shaper_set(&shaper, rate);
    for (int i = 0; i < MANY; i++)
        takers[i] = (struct taker){.shaped = {.go = go}};
}

static void unmake(void) {
    for (int i = 0; i < MANY; i++)
        shaper_leave(&shaper, &takers[i].shaped);
    EXPECT(still_timers(loop) == 0 && shaper.waiting == 0);
    shaper_fini(&shaper);
    loop_free(loop);
}

static void begin(int i, uint64_t octets) {
    takers[i].left = octets;
    take(&takers[i]);
}

static uint64_t passed(void) {
    uint64_t sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += takers[i].passed;
    return sum;
}

static void without_a_rate_nobody_waits(void) {
    make(0);
    begin(0, 1ull << 40);
    EXPECT(takers[0].left == 0 && still_timers(loop) == 0 && takers[0].passed == 1ull << 40);
    EXPECT(shaper_datagram(&shaper, 65536) && shaper.dropped == 0);
    unmake();
}

static void one_alone_gets_the_rate(void) {
    make(RATE);
    begin(0, 1ull << 40);
    uint64_t before = passed();
    EXPECT(before == RATE / 8);
    still_pass(loop, 10 * STILL_SECOND);
    EXPECT(passed() - before <= 10 * RATE && passed() - before > 10 * RATE * 99 / 100);
    unmake();
}

static void each_gets_a_share(void) {
    make(RATE);
    for (int i = 0; i < MANY; i++)
        begin(i, 1ull << 40);
    still_pass(loop, STILL_SECOND); /* the first took what was saved up */
    uint64_t before[MANY];
    for (int i = 0; i < MANY; i++)
        before[i] = takers[i].passed;
    still_pass(loop, 10 * STILL_SECOND);
    for (int i = 0; i < MANY; i++) {
        uint64_t got = takers[i].passed - before[i];
        EXPECT(got > RATE * 9 / 10 && got < RATE * 11 / 10);
    }
    unmake();
}

/* A segment a time, so that even a slow rate is shared. */
static void a_slow_rate_too(void) {
    make(1000);
    for (int i = 0; i < MANY; i++)
        begin(i, 1ull << 40);
    still_pass(loop, 200 * STILL_SECOND);
    for (int i = 1; i < MANY; i++)
        EXPECT(takers[i].passed >= 1460 * 13ull);
    EXPECT(passed() <= BUCKET_LEAST + 200 * 1000 + 1460);
    unmake();
}

static void who_comes_later_does_not_push_in(void) {
    make(RATE);
    begin(0, 1ull << 40);
    still_pass(loop, 3 * MS); /* something has come, and somebody waits for it */
    EXPECT(shaper_room(&shaper) == 0);
    begin(1, 1000);
    EXPECT(takers[1].left == 1000);
    still_pass(loop, 100 * MS);
    EXPECT(takers[1].left == 0);
    unmake();
}

static void who_has_all_waits_no_more(void) {
    make(RATE);
    begin(0, RATE / 8 + RATE);
    still_pass(loop, 2 * STILL_SECOND);
    EXPECT(takers[0].left == 0 && still_timers(loop) == 0);
    unmake();
}

static void who_leaves_is_not_called(void) {
    make(RATE);
    for (int i = 0; i < 3; i++)
        begin(i, RATE);
    uint64_t had = takers[1].passed;
    shaper_leave(&shaper, &takers[1].shaped);
    shaper_leave(&shaper, &takers[1].shaped);
    takers[2].leaves = true; /* in his turn */
    still_pass(loop, 10 * STILL_SECOND);
    EXPECT(takers[1].passed == had && takers[0].left == 0 && takers[2].left > 0);
    EXPECT(still_timers(loop) == 0);
    unmake();
}

static void a_rate_that_is_lifted_lets_everybody_go(void) {
    make(1000);
    for (int i = 0; i < MANY; i++)
        begin(i, RATE);
    shaper_set(&shaper, 0);
    still_pass(loop, MS);
    EXPECT(passed() == (uint64_t)MANY * RATE);
    unmake();
}

static void datagrams_are_dropped_and_counted(void) {
    make(RATE);
    uint64_t came = 0;
    for (int i = 0; i < 2000; i++) {
        came += shaper_datagram(&shaper, 1000);
        still_pass(loop, MS / 2);
    }
    EXPECT(came >= 1000 + 124 && came <= 1000 + 127);
    EXPECT(shaper.dropped == 2000 - came);
    EXPECT(still_timers(loop) == 0);
    unmake();
}

static const struct test tests[] = {
    TEST(without_a_rate_nobody_waits),
    TEST(one_alone_gets_the_rate),
    TEST(each_gets_a_share),
    TEST(a_slow_rate_too),
    TEST(who_comes_later_does_not_push_in),
    TEST(who_has_all_waits_no_more),
    TEST(who_leaves_is_not_called),
    TEST(a_rate_that_is_lifted_lets_everybody_go),
    TEST(datagrams_are_dropped_and_counted),
};

CHECK_MAIN(tests)
