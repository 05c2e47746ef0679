/* A token bucket: what passes in a time is the rate's, however often it is looked at, and at the largest numbers there are. */
#include "agent/bucket.h"

#include "check.h"

#define MS     (1000ull * 1000)
#define SECOND (1000 * MS)

static struct bucket b;
static uint64_t now = 77 * SECOND;

/* Everything that has room is spent, at every step: octets in all. */
static uint64_t drain(uint64_t steps, uint64_t step) {
    uint64_t passed = 0;
    for (uint64_t i = 0; i < steps; i++) {
        now += step;
        size_t room = bucket_room(&b, now);
        bucket_spend(&b, room);
        passed += room;
    }
    return passed;
}

static void empty(uint64_t rate) {
    bucket_set(&b, rate, now);
    bucket_spend(&b, bucket_room(&b, now));
    EXPECT(bucket_room(&b, now) == 0);
}

static void no_rate_is_no_limit(void) {
    bucket_set(&b, 0, now);
    for (int i = 0; i < 100; i++) {
        EXPECT(bucket_room(&b, now) == SIZE_MAX && bucket_when(&b, SIZE_MAX, now) == now);
        bucket_spend(&b, SIZE_MAX / 2);
    }
}

static void an_eighth_of_a_second_is_saved_up(void) {
    bucket_set(&b, 8000 * 1000, now);
    EXPECT(bucket_room(&b, now) == 1000 * 1000);
    empty(8000 * 1000);
    now += 1000 * SECOND;
    EXPECT(bucket_room(&b, now) == 1000 * 1000);
    bucket_set(&b, 1000, now);
    EXPECT(bucket_room(&b, now) == BUCKET_LEAST);
}

/* Never more, and hardly less, whether it is looked at every microsecond or rarely. */
static void what_passes_is_the_rate(void) {
    static const uint64_t rates[] = {1,       3,         999,       1000,      65537,
                                     1000003, 125000000, 999999999, 1234567891};
    static const uint64_t steps[] = {1009, MS / 3, 5 * MS, 123 * MS};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++)
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            empty(rates[r]);
            uint64_t took = 20000 * steps[s];
            double due = (double)rates[r] * (double)took / SECOND;
            double passed = (double)drain(20000, steps[s]);
            EXPECT(passed <= due && passed >= due * 0.998 - 1);
        }
}

static void when_is_when(void) {
    static const uint64_t rates[] = {1, 999, 1000003, 125000000, 1234567891, BUCKET_MOST};
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        empty(rates[r]);
        uint64_t at = bucket_when(&b, 1460, now);
        EXPECT(at > now);
        struct bucket earlier = b;
        EXPECT(bucket_room(&earlier, at - 2) < 1460 || rates[r] >= SECOND);
        EXPECT(bucket_room(&b, at) >= 1460);
        now = at;
        EXPECT(bucket_when(&b, 1460, now) == now);
    }
    empty(1000 * 1000); /* more than there ever will be: the brim */
    uint64_t at = bucket_when(&b, SIZE_MAX, now);
    EXPECT(at == now + SECOND / 8 && bucket_room(&b, at) == 125 * 1000);
    now = at;
}

static void a_debt_is_paid_before_anything_passes(void) {
    empty(1000);
    bucket_spend(&b, 65536);
    EXPECT(bucket_room(&b, now) == 0);
    uint64_t at = bucket_when(&b, 1, now);
    EXPECT(at - now > 65 * SECOND && at - now < 66 * SECOND);
    struct bucket earlier = b;
    EXPECT(bucket_room(&earlier, now + 65 * SECOND) == 0 && bucket_room(&b, at) >= 1);
    now = at;
}

static void bounds(void) {
    bucket_set(&b, UINT64_MAX, now);
    EXPECT(bucket_room(&b, now) == BUCKET_MOST / 8);
    bucket_spend(&b, BUCKET_MOST / 8 + 65536);
    EXPECT(bucket_when(&b, SIZE_MAX, now) > now);
    EXPECT(bucket_room(&b, UINT64_MAX) == BUCKET_MOST / 8);
    empty(1);
    EXPECT(bucket_room(&b, UINT64_MAX) == BUCKET_LEAST);
    EXPECT(bucket_room(&b, 1) ==
           BUCKET_LEAST); /* a clock never goes back; if it did, nothing comes of it */
}

int main(void) {
    alarm(60);
    no_rate_is_no_limit();
    an_eighth_of_a_second_is_saved_up();
    what_passes_is_the_rate();
    when_is_when();
    a_debt_is_paid_before_anything_passes();
    bounds();
    puts("what passes is the rate");
    return 0;
}
