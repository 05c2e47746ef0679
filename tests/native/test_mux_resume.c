/* Links that are cut, between two multiplexers: at random octets and moments, thousands of times, in either direction or both,
 * again while they are being resumed - and not an octet of any channel is lost, doubled or out of order, credit is what it was,
 * and ends and resets arrive once. */
#include "check.h"
#include "mux_inner.h"
#include "pair.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

enum { MIB = 1024 * 1024, HALF = 256 * 1024 };

static struct loop *loop;
static struct end *ends[2];

/* --- a way between them that loses what it carries ---------------------------------------------------------------------- */

/* What was read from one end and not yet written to the other. */
struct half {
    uint8_t octets[HALF];
    size_t len;
};

static uint64_t carried;

static struct {
    int fd[2]; /* of the two ends; -1: that leg is cut */
    struct half to[2];
} way = {.fd = {-1, -1}};

static uint32_t random_state;

/* xorshift32 (Marsaglia, 2003) */
static uint32_t any(uint32_t below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % below;
}

static int leg(int side) {
    int fds[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    EXPECT(way.fd[side] == -1);
    way.fd[side] = fds[1];
    return fds[0];
}

static void cut_leg(int side) {
    if (way.fd[side] >= 0)
        close(way.fd[side]);
    way.fd[side] = -1;
    way.to[side].len = 0;
}

static void carry(int from, size_t most) {
    struct half *h = &way.to[!from];
    size_t space = HALF - h->len;
    if (way.fd[from] >= 0 && space > 0 && most > 0) {
        ssize_t n = read(way.fd[from], h->octets + h->len, most < space ? most : space);
        h->len += n > 0 ? (size_t)n : 0;
        carried += n > 0 ? (size_t)n : 0;
    }
    if (way.fd[!from] < 0 || h->len == 0)
        return;
    ssize_t n = send(way.fd[!from], h->octets, h->len, MSG_NOSIGNAL);
    if (n > 0) {
        h->len -= (size_t)n;
        memmove(h->octets, h->octets + n, h->len);
    }
}

static void carry_both(uint32_t most) {
    run_turns(loop, 1);
    carry(0, any(most));
    carry(1, any(most));
}

static void make(uint32_t seed) {
    random_state = seed;
    loop = loop_new(NULL);
    ends[0] = end_kept(loop, leg(0), true);
    ends[1] = end_kept(loop, leg(1), false);
}

static void unmake(void) {
    end_free(ends[0]);
    end_free(ends[1]);
    loop_free(loop);
    cut_leg(0);
    cut_leg(1);
}

/* As the bridge and the agent do it: the first says what it has, the second answers and goes on, the first goes on. What is
 * between them may be cut again at each step. */
static bool resume(void) {
    uint64_t first = mux_cut(ends[0]->mux);
    cut_leg(0);
    if (any(8) == 0)
        return false;
    uint64_t second = mux_cut(ends[1]->mux);
    cut_leg(1);
    EXPECT(mux_resume(ends[1]->mux, leg(1), first, NULL) == 0);
    if (any(8) == 0) { /* the answer is lost, with what the second says after it */
        run_turns(loop, 1 + (int)any(3));
        cut_leg(1);
        return false;
    }
    EXPECT(mux_resume(ends[0]->mux, leg(0), second, NULL) == 0);
    return true;
}

static void cut(void) {
    switch (any(4)) {
    case 0:
        cut_leg(0);
        break;
    case 1:
        cut_leg(1);
        break;
    case 2:
        cut_leg(0);
        cut_leg(1);
        break;
    default: /* by itself, from within */
        (void)mux_cut(ends[any(2)]->mux);
    }
    run_turns(loop, (int)any(4));
    carry(0, any(30000)); /* what survived on the other leg arrives */
    carry(1, any(30000));
    run_turns(loop, (int)any(4));
    while (!resume())
        continue;
}

/* --- talks over it ------------------------------------------------------------------------------------------------------- */

static bool answer(struct talk *t, const char *callback) {
    if (strcmp(callback, "data") == 0 && t->sent == 0)
        talk_pump(t);
    return false;
}

static bool all_over(void) {
    return mux_channels(ends[0]->mux) == 0 && mux_channels(ends[1]->mux) == 0;
}

/* Bulk both ways, half-closes among it: each side closes when it has sent all. */
static void streams_survive(void) {
    enum { TALKS = 12 };
    make(4711);
    ends[1]->hook = answer;
    ends[1]->window = 300000;
    ends[1]->reply = 5 * MIB + 17;
    for (uint32_t i = 0; i < TALKS; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 1000 + i * 40000, (i % 3 + 1) * 2 * MIB + i)->eof_after =
            true;
    int cuts = 0;
    for (; !all_over(); cuts++) {
        static const uint32_t grains[] = {40, 3000, 30000, 60000};
        uint32_t grain = grains[any(4)];
        for (uint32_t n = any(6); n > 0; n--)
            carry_both(grain);
        cut();
    }
    fprintf(stderr, "(%d cuts) ", cuts);
    EXPECT(cuts > 1500);
    EXPECT(ends[0]->gone == 0 && ends[1]->gone == 0);
    for (uint32_t i = 0; i < TALKS; i++) {
        struct talk *a = ends[0]->talks[i], *b = ends[1]->talks[i];
        EXPECT(a->got == 5 * MIB + 17 && b->got == (i % 3 + 1) * 2 * MIB + i);
        EXPECT(a->eofs == 1 && b->eofs == 1 && a->resets == 0 && b->resets == 0);
    }
    EXPECT(ends[0]->cuts > 0 && ends[1]->cuts > 0);
    unmake();
}

/* Until nothing moves any more. */
static void settle(void) {
    uint64_t before;
    do {
        before = carried;
        for (int i = 0; i < 3; i++) {
            run_turns(loop, 2);
            carry(0, HALF);
            carry(1, HALF);
        }
    } while (carried != before || way.to[0].len + way.to[1].len > 0);
}

/* Both sides' view of a channel's credit is the same again after every cut, whatever was granted meanwhile. */
static void credit_survives(void) {
    make(815);
    ends[1]->window = 70000;
    struct talk *a = talk_open(ends[0], CHANNEL_TCP, 0, 50000, 0);
    settle();
    struct talk *b = ends[1]->talks[0];
    for (int round = 0; round < 500; round++) {
        a->to_send += any(60000);
        b->to_send += any(60000);
        a->hoard = any(2);
        b->hoard = any(2);
        talk_pump(a);
        talk_pump(b);
        carry_both(HALF);
        cut();
        settle();
        EXPECT(a->channel.credit == b->channel.window && b->channel.credit == a->channel.window);
        EXPECT(a->channel.credit + (int64_t)b->channel.ungranted <= 70000);
        struct talk *both[2] = {a, b};
        for (int i = 0; i < 2; i++) { /* what was hoarded is granted, all of it */
            struct channel *c = &both[i]->channel;
            channel_grant(c, (size_t)((int64_t)c->full - c->window - (int64_t)c->ungranted));
        }
        settle();
    }
    EXPECT(b->got == a->sent && a->got == b->sent && a->sent > 5 * MIB);
    EXPECT(ends[0]->gone == 0 && ends[1]->gone == 0);
    unmake();
}

/* Channels that are opened, reset and closed at any moment, also while there is no link: each end of each is told once. */
static void comings_and_goings_survive(void) {
    enum { TALKS = 4000 };
    make(99);
    ends[1]->window = 5000;
    for (uint32_t i = 0; i < TALKS; i++) {
        struct talk *t = talk_open(ends[0], CHANNEL_TCP, i, 5000, any(9000));
        t->eof_after = any(2);
        struct talk *old = i >= 20 ? ends[0]->talks[i - any(20)] : t;
        if (any(3) == 0 && channel_attached(&old->channel)) {
            channel_reset(&old->channel, ECONNRESET);
            old->resets = -1; /* ours: nobody tells us */
        }
        struct talk *theirs = ends[1]->talks[old->key];
        if (theirs != NULL && any(3) == 0)
            channel_eof(&theirs->channel);
        carry_both(2000);
        if (any(4) == 0) {
            if (any(2))
                cut();
            else
                (void)mux_cut(ends[0]->mux), talk_open(ends[0], CHANNEL_TCP, ++i, 5000, 10), cut();
        }
    }
    settle();
    EXPECT(ends[0]->gone == 0 && ends[1]->gone == 0);
    uint32_t left = 0;
    for (uint32_t i = 0; i < TALKS; i++) {
        struct talk *a = ends[0]->talks[i], *b = ends[1]->talks[i];
        EXPECT(a->resets <= 1 && a->eofs <= 1);
        EXPECT(b == NULL || (b->resets <= 1 && b->eofs <= 1 && b->got <= a->to_send));
        EXPECT(b != NULL || a->resets == -1);
        if (a->resets == -1)
            EXPECT(b == NULL || b->resets == 1 || !channel_attached(&b->channel));
        else if (channel_attached(&a->channel))
            EXPECT(b->got == a->to_send && b->eofs == a->eof_after);
        left += channel_attached(&a->channel);
    }
    EXPECT(left > 0 && mux_channels(ends[0]->mux) == left && mux_channels(ends[1]->mux) == left);
    unmake();
}

/* --- inside callbacks ------------------------------------------------------------------------------------------------------ */

static int struck;

/* Whoever hears of data cuts the link there and then, and at once resumes it. */
static bool cut_and_resume(struct talk *t, const char *callback) {
    if (strcmp(callback, "data") != 0 || ++struck % 5 != 0)
        return false;
    struct end *me = t->end, *other = ends[me == ends[0]];
    int mine = me == ends[1];
    uint64_t here = mux_cut(me->mux), there = mux_cut(other->mux);
    cut_leg(0);
    cut_leg(1);
    EXPECT(mux_resume(other->mux, leg(!mine), here, NULL) == 0);
    EXPECT(mux_resume(me->mux, leg(mine), there, NULL) == 0);
    return false;
}

static void resumed_inside_callbacks(void) {
    make(1);
    ends[1]->hook = cut_and_resume;
    struct talk *t[3];
    for (uint32_t i = 0; i < 3; i++) {
        t[i] = talk_open(ends[0], CHANNEL_TCP, i, 1000, 3 * MIB);
        t[i]->eof_after = true;
    }
    while (ends[1]->talks[2] == NULL ||
           ends[1]->talks[0]->eofs + ends[1]->talks[1]->eofs + ends[1]->talks[2]->eofs < 3)
        carry_both(HALF);
    for (uint32_t i = 0; i < 3; i++)
        EXPECT(ends[1]->talks[i]->got == 3 * MIB);
    EXPECT(struck > 50 && ends[0]->gone == 0 && ends[1]->gone == 0);
    EXPECT(ends[0]->cuts == 0 && ends[1]->cuts == 0); /* who asks for it is not told */
    unmake();
}

static bool free_it(struct talk *t, const char *callback) {
    if (strcmp(callback, "data") != 0)
        return false;
    (void)mux_cut(t->end->mux);
    mux_free(t->end->mux);
    t->end->mux = NULL;
    return false;
}

static void freed_while_cut_inside_a_callback(void) {
    make(2);
    ends[1]->hook = free_it;
    talk_open(ends[0], CHANNEL_TCP, 0, 1000, MIB);
    while (ends[1]->mux != NULL)
        carry_both(HALF);
    EXPECT(ends[1]->talks[0]->resets == 1 && ends[1]->talks[0]->err == ENETRESET);
    cut_leg(0);
    run_turns(loop, 3);
    EXPECT(ends[0]->cuts == 1 && ends[0]->gone == 0 && ends[0]->talks[0]->resets == 0);
    mux_free(ends[0]->mux); /* sixty seconds later, say */
    ends[0]->mux = NULL;
    EXPECT(ends[0]->talks[0]->resets == 1 && ends[0]->talks[0]->err == ENETRESET);
    unmake();
}

static const struct test tests[] = {
    TEST(streams_survive),
    TEST(credit_survives),
    TEST(comings_and_goings_survive),
    TEST(resumed_inside_callbacks),
    TEST(freed_while_cut_inside_a_callback),
};
CHECK_MAIN(tests)
