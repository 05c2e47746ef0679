/* The multiplexer between two of its own: streams arrive whole and in order, no channel stops another, and every way a
 * channel or a link can end is told once. */
#include "check.h"
#include "pair.h"

#include <errno.h>
#include <sys/socket.h>

enum { MIB = 1024 * 1024 };

static struct loop *loop;
static struct end *ends[2];

static void make(void) {
    loop = loop_new(NULL);
    pair_make(loop, ends);
}

static void unmake(void) {
    end_free(ends[0]);
    end_free(ends[1]);
    loop_free(loop);
}

static bool no_channels(void *arg) {
    (void)arg;
    return ends[0]->opens + ends[1]->opens > 0 && mux_channels(ends[0]->mux) == 0 &&
           mux_channels(ends[1]->mux) == 0;
}

static bool both_gone(void *arg) {
    (void)arg;
    return ends[0]->gone && ends[1]->gone;
}

/* An accepted talk answers with as much as it was told to, as soon as the first octet came, and then ends. */
static bool answer(struct talk *t, const char *callback) {
    if (strcmp(callback, "data") == 0 && t->sent == 0)
        talk_pump(t);
    return false;
}

static void bulk_both_ways(void) {
    make();
    ends[1]->hook = answer;
    ends[1]->reply = 20 * MIB;
    struct talk *t[3];
    for (uint32_t i = 0; i < 3; i++) {
        t[i] = talk_open(ends[0], CHANNEL_TCP, i, (i + 1) * 50000, (16 + i) * MIB + i);
        t[i]->eof_after = true;
    }
    run_until(loop, no_channels, NULL);
    for (uint32_t i = 0; i < 3; i++) {
        struct talk *other = ends[1]->talks[i];
        EXPECT(t[i]->got == 20 * MIB && other->got == (16 + i) * MIB + i);
        EXPECT(t[i]->eofs == 1 && other->eofs == 1 && t[i]->opened == 1);
        EXPECT(t[i]->resets == 0 && other->resets == 0);
    }
    unmake();
}

/* Windows so small that every rounding of the grants shows. */
static void tiny_windows(void) {
    make();
    ends[1]->hook = answer;
    ends[1]->reply = 3001;
    for (uint32_t i = 0; i < 40; i++) {
        ends[1]->window = i + 1;
        talk_open(ends[0], CHANNEL_TCP, i, i / 2 + 1, 2003)->eof_after = true;
        run_until(loop, no_channels, NULL);
        EXPECT(ends[0]->talks[i]->got == 3001 && ends[1]->talks[i]->got == 2003);
    }
    unmake();
}

static bool second_done(void *arg) {
    (void)arg;
    return ends[1]->talks[1] != NULL && ends[1]->talks[1]->got == 32 * MIB;
}

static void slow_reader_stops_itself_only(void) {
    make();
    ends[1]->hoard = true;
    struct talk *slow = talk_open(ends[0], CHANNEL_TCP, 0, 65536, 8 * MIB);
    slow->eof_after = true;
    run_turns(loop, 50);
    EXPECT(ends[1]->talks[0]->got == ends[1]->window && slow->sent == ends[1]->window);
    ends[1]->hoard = false;
    talk_open(ends[0], CHANNEL_TCP, 1, 65536, 32 * MIB)->eof_after = true;
    run_until(loop, second_done, NULL);
    EXPECT(ends[1]->talks[0]->got == ends[1]->window && slow->rooms == 0);

    ends[1]->talks[0]->hoard = false; /* it wakes up, and the rest comes */
    channel_grant(&ends[1]->talks[0]->channel, ends[1]->talks[0]->got);
    channel_eof(&ends[1]->talks[0]->channel);
    channel_eof(&ends[1]->talks[1]->channel);
    run_until(loop, no_channels, NULL);
    EXPECT(ends[1]->talks[0]->got == 8 * MIB);
    unmake();
}

static bool enough(void *arg) {
    uint64_t all = 0;
    for (uint32_t i = 0; i < *(uint32_t *)arg; i++)
        all += ends[1]->talks[i] != NULL ? ends[1]->talks[i]->got : 0;
    return all > 64 * MIB;
}

/* Credit for all, so that the link's room is what they share. */
static void shares_are_fair(void) {
    make();
    uint32_t channels = 20;
    ends[1]->window = 64 * MIB;
    for (uint32_t i = 0; i < channels; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 65536, 64 * MIB);
    run_until(loop, enough, &channels);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t i = 0; i < channels; i++) {
        uint64_t got = ends[1]->talks[i]->got;
        least = got < least ? got : least;
        most = got > most ? got : most;
    }
    EXPECT(least > 0 && most < least * 2);
    unmake();
}

static bool half_closed(void *arg) {
    (void)arg;
    return ends[1]->talks[0] != NULL && ends[1]->talks[0]->eofs == 1;
}

static bool answered(void *arg) {
    (void)arg;
    return ends[0]->talks[0]->got == 5 * MIB;
}

static void half_close(void) {
    make();
    struct talk *a = talk_open(ends[0], CHANNEL_TCP, 0, 65536, 10);
    a->eof_after = true;
    run_until(loop, half_closed, NULL);
    struct talk *b = ends[1]->talks[0];
    EXPECT(channel_attached(&a->channel) && channel_attached(&b->channel) && b->got == 10);
    EXPECT(channel_room(&a->channel) == 0);
    b->to_send = 5 * MIB;
    talk_pump(b);
    run_until(loop, answered, NULL);
    EXPECT(a->eofs == 0);
    channel_eof(&b->channel);
    EXPECT(!channel_attached(&b->channel)); /* ours was the second */
    run_until(loop, no_channels, NULL);
    EXPECT(a->eofs == 1 && b->eofs == 1);
    unmake();
}

/* --- what owners may do inside a callback ------------------------------------------------------------------------------ */

static const char *chosen;
static int struck;

static bool reset_and_free(struct talk *t, const char *callback) {
    if (strcmp(callback, chosen) != 0)
        return false;
    struck++;
    channel_reset(&t->channel, ECONNABORTED);
    EXPECT(!channel_attached(&t->channel));
    talk_free(t);
    return true;
}

static bool free_link(struct talk *t, const char *callback) {
    if (strcmp(callback, chosen) != 0 || struck > 0)
        return false;
    struck++;
    mux_free(t->end->mux);
    t->end->mux = NULL;
    EXPECT(!channel_attached(&t->channel));
    talk_free(t);
    return true;
}

/* Everything that leads to callbacks, of both kinds of channel. */
static void provoke(bool (*hook)(struct talk *t, const char *callback)) {
    ends[0]->hook = ends[1]->hook = hook;
    struct endpoint peer = {.port = 7};
    ends[1]->window = 70000;
    for (uint32_t i = 0; i < 4; i++) {
        struct talk *t = talk_open(ends[0], CHANNEL_TCP, i, 65536, 400000);
        t->hook = hook;
        t->eof_after = true;
    }
    struct talk *u = talk_open(ends[0], CHANNEL_UDP, 4, 65536, 0);
    u->hook = hook;
    channel_datagram(&u->channel, &peer, "", 1);
    channel_unreachable(&u->channel, &peer, EHOSTUNREACH);
    channel_eof(&u->channel);
}

static const char *const callbacks[] = {"opened", "data", "room", "eof", "datagram", "unreachable"};

static bool struck_and_quiet(void *arg) {
    int *quiet = arg;
    return struck > 0 && --*quiet < 0;
}

static void reset_inside_callbacks(void) {
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        make();
        chosen = callbacks[i];
        struck = 0;
        provoke(reset_and_free);
        run_until(loop, struck_and_quiet, &(int){50});
        EXPECT(ends[0]->gone == 0 && ends[1]->gone == 0);
        for (uint32_t k = 0; k < 5; k++) {
            struct talk *t = ends[0]->talks[k];
            EXPECT(t == NULL || t->resets == 0 || t->err == ECONNABORTED);
        }
        unmake();
    }
}

static bool one_free(void *arg) {
    (void)arg;
    return struck > 0 &&
           ((ends[0]->mux == NULL && ends[1]->gone) || (ends[1]->mux == NULL && ends[0]->gone));
}

static void free_link_inside_callbacks(void) {
    for (size_t i = 0; i < sizeof callbacks / sizeof *callbacks; i++) {
        make();
        chosen = callbacks[i];
        struck = 0;
        provoke(free_link);
        run_until(loop, one_free, NULL);
        EXPECT(ends[0]->gone + ends[1]->gone == 1); /* who freed it is not told */
        unmake();
    }
}

static bool free_link_in_reset(struct talk *t, const char *callback) {
    if (strcmp(callback, "reset") != 0)
        return false;
    if (struck++ == 0)
        mux_free(t->end->mux);
    t->end->mux = NULL;
    talk_free(t);
    return true;
}

/* The link dies, and the first channel that hears of it frees the link. */
static void free_link_inside_its_end(void) {
    make();
    struck = 0;
    for (uint32_t i = 0; i < 100; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 65536, 10)->hook = free_link_in_reset;
    run_turns(loop, 5);
    mux_free(ends[1]->mux);
    ends[1]->mux = NULL;
    run_turns(loop, 5);
    EXPECT(struck == 100 && ends[0]->mux == NULL && ends[0]->gone == 0);
    unmake();
}

/* --- the end of the link -------------------------------------------------------------------------------------------------- */

static struct talk reopened;

static bool open_again(struct talk *t, const char *callback) {
    if (strcmp(callback, "reset") == 0) {
        struct channel_open o = {.kind = CHANNEL_TCP, .window = 1000};
        memset(&reopened, 0, sizeof reopened);
        channel_open(t->end->mux, &reopened.channel, &talk_ops, &o);
        EXPECT(!channel_attached(&reopened.channel));
    }
    return false;
}

static bool first_gone(void *arg) {
    (void)arg;
    return ends[0]->gone > 0;
}

static void link_ends(void) {
    make();
    for (uint32_t i = 0; i < 100; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 65536, 1000)->hook = open_again;
    run_turns(loop, 5);
    mux_free(ends[1]->mux);
    ends[1]->mux = NULL;
    for (uint32_t i = 0; i < 100; i++)
        EXPECT(ends[1]->talks[i]->resets == 1 && ends[1]->talks[i]->err == ENETRESET);
    talk_open(ends[0], CHANNEL_TCP, 100, 1000, 0); /* nobody knows yet */
    run_until(loop, first_gone, NULL);
    for (uint32_t i = 0; i <= 100; i++)
        EXPECT(ends[0]->talks[i]->resets == 1 && ends[0]->talks[i]->err == ENETRESET);
    EXPECT_TEXT(ends[0]->why.text, "the peer closed the link");
    EXPECT(mux_channels(ends[0]->mux) == 0);

    struct talk *late = talk_open(ends[0], CHANNEL_TCP, 101, 1000, 0);
    EXPECT(!channel_attached(&late->channel) && channel_room(&late->channel) == 0);
    channel_send(&late->channel, "x", 1); /* does nothing, as every call */
    channel_eof(&late->channel);
    channel_reset(&late->channel, 1);
    unmake();
}

static bool ninth_began(void *arg) {
    (void)arg;
    return ends[1]->talks[9] != NULL && ends[1]->talks[9]->got > 0;
}

static void close_under_full_load(void) {
    make();
    for (uint32_t i = 0; i < 10; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 65536, 100 * MIB);
    run_until(loop, ninth_began, NULL);
    mux_free(ends[1]->mux);
    ends[1]->mux = NULL;
    for (uint32_t i = 0; i < 10; i++)
        talk_pump(ends[0]->talks[i]);
    run_until(loop, first_gone, NULL);
    EXPECT(ends[0]->gone == 1);
    unmake();
}

/* --- many ------------------------------------------------------------------------------------------------------------ */

static bool all_answered(void *arg) {
    (void)arg;
    for (uint32_t i = 0; i < 10000; i++) {
        if (ends[0]->talks[i]->got < 700)
            return false;
    }
    return true;
}

static void ten_thousand_channels(void) {
    make();
    ends[1]->hook = answer;
    ends[1]->reply = 700;
    for (uint32_t i = 0; i < 10000; i++)
        talk_open(ends[0], CHANNEL_TCP, i, 4096, 300);
    run_until(loop, all_answered, NULL);
    EXPECT(mux_channels(ends[0]->mux) == 10000 && mux_channels(ends[1]->mux) == 10000);
    for (uint32_t i = 0; i < 10000; i++) {
        if (i % 2 == 0)
            channel_reset(&ends[0]->talks[i]->channel, ECONNRESET);
        else
            channel_eof(&ends[0]->talks[i]->channel);
    }
    run_until(loop, no_channels, NULL);
    for (uint32_t i = 0; i < 10000; i++) {
        EXPECT(ends[1]->talks[i]->resets == (i % 2 == 0) && ends[1]->talks[i]->got == 300);
        EXPECT(ends[0]->talks[i]->got == 700 && ends[0]->talks[i]->eofs <= 1);
    }
    unmake();
}

/* --- opening ---------------------------------------------------------------------------------------------------------- */

static struct talk *refuse(struct end *e, const struct channel_open *o, int *err) {
    (void)e, (void)o;
    *err = EHOSTUNREACH;
    return NULL;
}

static struct talk *think_about_it(struct end *e, const struct channel_open *o, int *err) {
    (void)err;
    return talk_new(e, o->target);
}

static bool reset_came(void *arg) {
    return ((struct talk *)arg)->resets > 0;
}

static bool opened(void *arg) {
    return ((struct talk *)arg)->opened > 0;
}

static bool offered(void *arg) {
    return ends[1]->talks[*(uint32_t *)arg] != NULL;
}

static void refused_accepted_late_cancelled(void) {
    make();
    ends[1]->on_open = refuse;
    struct talk *a = talk_open(ends[0], CHANNEL_TCP, 0, 1000, 5);
    run_until(loop, reset_came, a);
    EXPECT(a->err == EHOSTUNREACH && a->opened == 0);

    ends[1]->on_open = think_about_it;
    struct talk *b = talk_open(ends[0], CHANNEL_TCP, 1, 1000, 5);
    run_until(loop, offered, &(uint32_t){1});
    EXPECT(b->opened == 0 && b->sent == 0);
    channel_accept(&ends[1]->talks[1]->channel, &talk_ops, 3);
    run_until(loop, opened, b);
    run_turns(loop, 5);
    EXPECT(b->sent == 5 && ends[1]->talks[1]->got == 5);

    struct talk *c = talk_open(ends[0], CHANNEL_TCP, 2, 1000, 5);
    run_until(loop, offered, &(uint32_t){2});
    channel_reset(&c->channel, ECANCELED);
    run_until(loop, reset_came, ends[1]->talks[2]);
    EXPECT(ends[1]->talks[2]->err == ECANCELED);
    channel_accept(&ends[1]->talks[2]->channel, &talk_ops, 3); /* too late: does nothing */

    struct talk *d = talk_open(ends[0], CHANNEL_TCP, 3, 1000, 5);
    run_until(loop, offered, &(uint32_t){3});
    channel_reset(&ends[1]->talks[3]->channel, ECONNREFUSED);
    run_until(loop, reset_came, d);
    EXPECT(d->err == ECONNREFUSED && !both_gone(NULL));
    unmake();
}

/* --- datagrams ---------------------------------------------------------------------------------------------------------- */

static bool datagrams_came(void *arg) {
    return ends[1]->talks[0] != NULL && ends[1]->talks[0]->datagrams == *(int *)arg;
}

static void datagrams(void) {
    make();
    struct talk *t = talk_open(ends[0], CHANNEL_UDP, 0, 0, 0);
    struct endpoint peer = {.addr = addr_v4("\xc6\x12\x00\x09"), .port = 53};
    static uint8_t payload[65507];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i % 251);
    EXPECT(channel_datagram(&t->channel, &peer, payload, 0)); /* ahead of OPENED */
    EXPECT(channel_datagram(&t->channel, &peer, payload, sizeof payload));
    run_until(loop, datagrams_came, &(int){2});
    EXPECT(ends[1]->talks[0]->got == sizeof payload &&
           endpoint_equal(&ends[1]->talks[0]->peer, &peer));

    int taken = 0;
    while (channel_datagram(&t->channel, &peer, payload, 1400))
        taken++;
    EXPECT(taken > 500 && taken <= 2000 && mux_datagrams_dropped(ends[0]->mux) == 1);
    run_until(loop, datagrams_came, &(int){2 + taken});

    channel_unreachable(&ends[1]->talks[0]->channel, &peer, ECONNREFUSED);
    run_turns(loop, 5);
    EXPECT(t->unreachables == 1 && t->err == ECONNREFUSED && endpoint_equal(&t->peer, &peer));
    unmake();
}

static const struct test tests[] = {
    TEST(bulk_both_ways),
    TEST(tiny_windows),
    TEST(slow_reader_stops_itself_only),
    TEST(shares_are_fair),
    TEST(half_close),
    TEST(reset_inside_callbacks),
    TEST(free_link_inside_callbacks),
    TEST(free_link_inside_its_end),
    TEST(link_ends),
    TEST(close_under_full_load),
    TEST(ten_thousand_channels),
    TEST(refused_accepted_late_cancelled),
    TEST(datagrams),
};
CHECK_MAIN(tests)
