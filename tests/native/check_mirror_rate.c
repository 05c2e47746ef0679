/* The rate of a session's mirror: who may begin, who has to end, and that what stays is the oldest and fits. */
#include "agent/mirror_rate.h"

#include "check.h"

#define MS     (1000ull * 1000)
#define SECOND (1000 * MS)

enum { MANY = 100 };

static struct mirror_rate rate;
static struct mirror_share shares[MANY];
static uint64_t now = 77 * SECOND;

static void make(uint64_t octets) {
    mirror_rate_init(&rate);
    mirror_rate_set(&rate, octets, now);
    memset(shares, 0, sizeof shares);
}

static int count(void) {
    int n = 0;
    for (int i = 0; i < MANY; i++)
        n += shares[i].begun;
    return n;
}

/* One turn of 10 ms, in which each that is begun sends as much as it wants; who is too much is ended. Returns what was sent. */
static uint64_t turn(uint64_t each) {
    uint64_t sent = 0;
    now += 10 * MS;
    for (int i = 0; i < MANY; i++)
        if (shares[i].begun) {
            mirror_rate_spend(&rate, &shares[i], each / 100);
            sent += each / 100;
        }
    for (struct mirror_share *s; (s = mirror_rate_excess(&rate, now));)
        mirror_rate_end(&rate, s);
    return sent;
}

static void begin(int i) {
    if (!shares[i].begun && mirror_rate_allows(&rate, now))
        mirror_rate_begin(&rate, &shares[i]);
}

static void no_rate_is_no_limit(void) {
    make(0);
    for (int i = 0; i < MANY; i++)
        begin(i);
    for (int i = 0; i < 1000; i++)
        turn(UINT64_MAX / 1000);
    EXPECT(count() == MANY && mirror_rate_datagram(&rate, UINT64_MAX, now));
}

static void under_the_rate_nothing_happens(void) {
    make(1000000);
    for (int i = 0; i < 9; i++)
        begin(i);
    for (int i = 0; i < 10000; i++)
        turn(100000);
    EXPECT(count() == 9 && mirror_rate_allows(&rate, now));
}

/* A hundred that want ten times the rate: ten stay, the ten that began first, and they get all of it. */
static void the_oldest_stay(void) {
    make(10 * 1000 * 1000);
    for (int i = 0; i < MANY; i++)
        begin(i);
    EXPECT(count() == MANY); /* the bucket is full: nobody has sent anything yet */
    for (int i = 0; i < 300; i++)
        turn(1000 * 1000);
    uint64_t sent = 0;
    for (int i = 0; i < 1000; i++)
        sent += turn(1000 * 1000);
    EXPECT(count() == 10);
    for (int i = 0; i < 10; i++)
        EXPECT(shares[i].begun);
    EXPECT(sent == 100 * 1000 * 1000);
}

/* Those that come later, all the time, do not push out one that is there; at most they take what is left of the rate. */
static void newcomers_wait(void) {
    make(1000 * 1000);
    for (int i = 0; i < 9; i++)
        begin(i);
    for (int step = 0; step < 6000; step++) {
        begin(10 + step % 80);
        turn(100 * 1000);
        for (int i = 0; i < 9; i++)
            EXPECT(shares[i].begun);
        EXPECT(step < 200 ||
               count() <= 11); /* at first nothing is known of them, and the bucket is full */
    }
}

/* A client's requests, each on a connection of its own, the last one's not quite gone: however many come, each is shown. */
static void one_after_another_is_little(void) {
    make(25 * 1000 * 1000);
    int refused = 0;
    begin(0);
    for (int i = 1; i < 3000; i++) {
        mirror_rate_spend(&rate, &shares[(i - 1) % 3], 300);
        now += MS;
        if (mirror_rate_excess(&rate, now))
            refused++;
        begin(i % 3);
        refused += !shares[i % 3].begun;
        mirror_rate_end(&rate, &shares[(i - 1) % 3]);
    }
    EXPECT(refused == 0);
}

static void one_alone_is_never_ended(void) {
    make(1000);
    begin(0);
    for (int i = 0; i < 1000; i++)
        turn(1000 * 1000);
    EXPECT(shares[0].begun && !mirror_rate_allows(&rate, now));
    now += 3 * SECOND; /* of its debt a second's worth is remembered */
    EXPECT(mirror_rate_allows(&rate, now));
}

/* Who is silent is no use to end. */
static void the_silent_are_left_alone(void) {
    make(1000 * 1000);
    for (int i = 0; i < 20; i++)
        begin(i);
    for (int step = 0; step < 300; step++) {
        now += 10 * MS;
        for (int i = 0; i < 10; i++)
            if (shares[i].begun)
                mirror_rate_spend(&rate, &shares[i], 5000);
        for (struct mirror_share *s; (s = mirror_rate_excess(&rate, now));)
            mirror_rate_end(&rate, s);
    }
    for (int i = 0; i < 20; i++)
        EXPECT(shares[i].begun == (i < 2 || i >= 10));
}

static void datagrams_spend_too(void) {
    make(1000);
    int shown = 0;
    for (int i = 0; i < 100; i++)
        shown += mirror_rate_datagram(&rate, 100, now);
    EXPECT(shown == 10 && !mirror_rate_allows(&rate, now));
    now += SECOND / 2;
    for (int i = 0; i < 100; i++)
        shown += mirror_rate_datagram(&rate, 100, now);
    EXPECT(shown == 15);
}

/* The largest numbers there are. */
static void bounds(void) {
    make(UINT64_MAX);
    begin(0);
    begin(1);
    for (int i = 0; i < 10; i++) {
        mirror_rate_spend(&rate, &shares[0], UINT64_MAX / 4);
        if (shares[1].begun)
            mirror_rate_spend(&rate, &shares[1], UINT64_MAX / 4);
        now += 300 * MS;
        for (struct mirror_share *s; (s = mirror_rate_excess(&rate, now));) {
            EXPECT(s == &shares[1]);
            mirror_rate_end(&rate, s);
        }
    }
    EXPECT(shares[0].begun && !shares[1].begun);
    make(1);
    begin(0);
    for (int i = 0; i < 100; i++)
        turn(100);
    now += 1000000 * SECOND;
    EXPECT(mirror_rate_allows(&rate, now));
}

int main(void) {
    alarm(60);
    no_rate_is_no_limit();
    under_the_rate_nothing_happens();
    the_oldest_stay();
    newcomers_wait();
    one_after_another_is_little();
    one_alone_is_never_ended();
    the_silent_are_left_alone();
    datagrams_spend_too();
    bounds();
    puts("the oldest stay, and they fit");
    return 0;
}
