/* What a kept link does by itself, on a clock that the test moves: acknowledgements by amount and by time, silence, the bound
 * of what is kept, and what a peer may not claim. The peer is a bare socket. */
#include "far.h"
#include "mux_inner.h"
#include "still_loop.h"

enum { MIB = 1024 * 1024 };

static struct loop *loop;
static struct mux *mux;
static struct far far;
static int cuts, gone, resets, rooms;
static uint64_t got;
static struct fault why;
static struct channel channels[8];

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    (void)p;
    got += n;
    channel_grant(c, n);
}

static void on_room(struct channel *c) {
    (void)c;
    rooms++;
}

static void on_reset(struct channel *c, int err) {
    (void)c;
    EXPECT(err == ENETRESET);
    resets++;
}

static const struct channel_ops channel_ops = {.data = on_data, .room = on_room, .reset = on_reset};

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    (void)owner, (void)err;
    struct channel *c = &channels[o->target];
    *c = (struct channel){0};
    channel_accept(c, &channel_ops, 64 * MIB);
    return c;
}

static void on_cut(void *owner, const struct fault *f) {
    (void)owner;
    cuts++;
    why = *f;
}

static void on_gone(void *owner, const struct fault *f) {
    (void)owner;
    gone++;
    why = *f;
}

static const struct mux_ops ops = {.open = on_open, .gone = on_gone, .cut = on_cut};

static void make(void) {
    cuts = gone = resets = rooms = 0;
    got = 0;
    loop = loop_new(NULL);
    mux = mux_new(loop, far_make(&far), true, &ops, NULL, NULL);
    EXPECT(mux != NULL && mux_keep(mux, NULL) == 0);
}

static void unmake(void) {
    mux_free(mux);
    close(far.fd);
    EXPECT(still_timers(loop) == 0);
    loop_free(loop);
}

static void far_ack(uint64_t received) {
    uint8_t head[FRAME_HEAD];
    far_write(&far, head, frame_ack(head, received));
}

/* A channel of ours that the peer has opened wide. */
static struct channel *wide(uint32_t credit) {
    struct channel_open o = {.kind = CHANNEL_TCP, .window = 64 * MIB};
    channels[0] = (struct channel){0};
    channel_open(mux, &channels[0], &channel_ops, &o);
    still_settle(loop);
    far_number(&far, FRAME_OPENED, channels[0].id, credit);
    still_settle(loop);
    return &channels[0];
}

/* Sends as much as there is room for, the peer reading all of it and saying nothing. How much. */
static uint64_t fill(struct channel *c) {
    static const uint8_t payload[MUX_FRAME_DATA];
    uint64_t sent = 0;
    for (int idle = 0; idle < 3; idle++) {
        for (size_t room; (room = channel_room(c)) > 0; idle = 0) {
            size_t n = room < sizeof payload ? room : sizeof payload;
            channel_send(c, payload, n);
            sent += n;
        }
        still_settle(loop);
        far_hear(&far);
        still_settle(loop);
    }
    return sent;
}

static void data(uint32_t channel, size_t n) {
    static uint8_t frame[FRAME_HEAD + MUX_FRAME_DATA];
    size_t head = frame_data(frame, channel, n);
    far_write(&far, frame, head + n);
    still_settle(loop);
}

/* --- acknowledgements -------------------------------------------------------------------------------------------------------- */

static void acknowledged_by_amount(void) {
    make();
    struct channel *c = wide(1000);
    far_hear(&far);
    EXPECT(far.acks == 0);
    uint64_t received = mux->kept.received;
    for (int i = 0; i < 60; i++) { /* less than what is granted at once */
        data(c->id, MUX_FRAME_DATA);
        far_hear(&far);
    }
    EXPECT(got == 60 * MUX_FRAME_DATA && far.acks == 60 * MUX_FRAME_DATA / MUX_ACK_EVERY);
    EXPECT(far.last[FRAME_ACK].received > received + 2 * MUX_ACK_EVERY &&
           far.last[FRAME_ACK].received <= mux->kept.received);
    unmake();
}

/* Where grants are said the acknowledgement goes along, so that the way back is woken up once; not for a few octets. */
static void acknowledged_with_a_grant(void) {
    static const struct {
        uint32_t window, piece;
        int pieces, acks;
    } cases[] = {{MIB, MUX_FRAME_DATA, 4, 1}, {16384, 4096, 1, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make();
        struct channel_open o = {.kind = CHANNEL_TCP, .window = cases[i].window};
        channels[0] = (struct channel){0};
        channel_open(mux, &channels[0], &channel_ops, &o);
        still_settle(loop);
        far_number(&far, FRAME_OPENED, channels[0].id, 1000);
        still_settle(loop);
        for (int n = 0; n < cases[i].pieces; n++) {
            far_hear(&far);
            EXPECT(far.acks == 0 && far.last[FRAME_GRANT].octets == 0);
            data(channels[0].id, cases[i].piece);
        }
        far_hear(&far);
        EXPECT(far.last[FRAME_GRANT].octets == cases[i].window / 4 && far.acks == cases[i].acks);
        EXPECT(cases[i].acks == 0 || far.last[FRAME_ACK].received == mux->kept.received);
        unmake();
    }
}

/* An idle link says one ack in five seconds, whatever the peer's acks add to what has come. */
static void acknowledged_by_time(void) {
    make();
    still_pass(loop, 5 * STILL_SECOND - 1);
    far_hear(&far);
    EXPECT(far.acks == 0);
    still_pass(loop, 1);
    far_hear(&far);
    EXPECT(far.acks == 1 && far.last[FRAME_ACK].received == 0);
    uint64_t said = 0;
    for (int i = 0; i < 100; i++) {
        uint8_t head[FRAME_HEAD];
        said += frame_ack(head, mux->kept.sent->end);
        far_ack(mux->kept.sent->end);
        still_pass(loop, 5 * STILL_SECOND);
        far_hear(&far);
        EXPECT(far.acks == 2 + i && far.last[FRAME_ACK].received == said);
    }
    EXPECT(kept_held(mux->kept.sent) < 32 && cuts == 0);
    unmake();
}

/* --- silence ------------------------------------------------------------------------------------------------------------------- */

static void silence_is_a_cut(void) {
    make();
    still_pass(loop, 7 * STILL_SECOND);
    far_ack(0);
    still_settle(loop);
    still_pass(loop, 15 * STILL_SECOND - 1);
    EXPECT(cuts == 0);
    still_pass(loop, 1);
    EXPECT(cuts == 1 && gone == 0);
    EXPECT_TEXT(why.text, "nothing came from the peer for 15 s");
    EXPECT(still_timers(loop) == 0); /* how long it may be CUT is the owner's to say */
    still_pass(loop, 3600 * STILL_SECOND);
    EXPECT(cuts == 1 && gone == 0);
    unmake();
}

/* --- haste --------------------------------------------------------------------------------------------------------------------- */

static const struct channel_open stolen = {.kind = CHANNEL_STEAL_TCP, .window = 1000};

static int acks_within(uint64_t seconds) {
    int before = far.acks;
    for (uint64_t i = 0; i < seconds; i++) {
        still_pass(loop, STILL_SECOND);
        far_ack(0); /* the peer is there */
        still_settle(loop);
        far_hear(&far);
    }
    return far.acks - before;
}

/* While a stolen channel is open, whoever opened it; two are no more than one. */
static void hastened_while_one_is_stolen(void) {
    make();
    EXPECT(acks_within(10) == 2);
    still_pass(loop, 4 * STILL_SECOND); /* silent by right, then in haste: that is no cut */
    far_open(&far, 2, &stolen);
    still_settle(loop);
    EXPECT(acks_within(10) == 10);
    channels[1] = (struct channel){0};
    channel_open(mux, &channels[1], &channel_ops, &stolen);
    mux_hasten(&channels[1]);
    EXPECT(acks_within(10) == 10);
    far_number(&far, FRAME_RESET, 2, ENETRESET);
    still_settle(loop);
    EXPECT(acks_within(10) == 10);
    channel_reset(&channels[1], ECONNRESET);
    EXPECT(acks_within(11) == 3 &&
           cuts == 0); /* the next as soon as it was due, then every five seconds */
    unmake();
}

static void silence_in_haste_is_a_cut(void) {
    make();
    still_pass(loop, 4 * STILL_SECOND);
    channels[1] = (struct channel){0};
    channel_open(mux, &channels[1], &channel_ops, &stolen);
    still_pass(loop, 3 * STILL_SECOND - 1);
    EXPECT(cuts == 0);
    still_pass(loop, 1);
    EXPECT(cuts == 1 && gone == 0);
    EXPECT_TEXT(why.text, "nothing came from the peer for 3 s");
    close(far.fd);
    EXPECT(mux_resume(mux, far_make(&far), mux->kept.sent->sent, NULL) == 0);
    channel_reset(&channels[1], ECONNRESET); /* nobody waits any more */
    still_pass(loop, 15 * STILL_SECOND - 1);
    EXPECT(cuts == 1);
    still_pass(loop, 1);
    EXPECT(cuts == 2);
    unmake();
}

/* --- the bound ------------------------------------------------------------------------------------------------------------------ */

static void no_room_at_the_bound(void) {
    make();
    struct channel *c = wide(UINT32_MAX);
    uint64_t sent = fill(c);
    EXPECT(sent > MUX_KEPT - 64 * 1024 && sent <= MUX_KEPT + 8192);
    EXPECT(channel_room(c) == 0 && mux_unsent(mux) == 0 && mux_opens(mux));
    channel_want_room(c);
    still_settle(loop);
    EXPECT(rooms == 0);

    /* What has no credit has room of its own; so has the peer's answer. */
    channel_open(mux, &channels[1], &channel_ops, &(struct channel_open){.kind = CHANNEL_UDP});
    EXPECT(!channel_datagram(&channels[1], &(struct endpoint){.port = 9}, "x", 1));
    still_settle(loop);
    far_hear(&far);
    EXPECT(far.opens == 2 && far.datagrams == 0 && mux_datagrams_dropped(mux) == 1);

    far_ack(1 * MIB);
    still_settle(loop);
    EXPECT(rooms == 1 && channel_room(c) > MIB / 2 && channel_room(c) <= MIB);
    far_ack(mux->kept.sent->sent); /* all, and then the pieces are given back */
    still_settle(loop);
    EXPECT(channel_room(c) == MUX_QUEUE && kept_held(mux->kept.sent) == 0);
    EXPECT(mux->kept.sent->spares > 0);
    still_pass(loop, 5 * STILL_SECOND);
    EXPECT(mux->kept.sent->spares == 0);
    unmake();
}

/* With a peer that takes and never acknowledges, frames without credit fill their own room, and then the link has ended. */
static void deaf_peer_ends_the_link(void) {
    make();
    fill(wide(UINT32_MAX));
    uint32_t opened = 0, refused = 0;
    for (; gone == 0 && opened < 200000; opened++) {
        channels[1] = (struct channel){0};
        refused += !mux_opens(mux);
        channel_open(mux, &channels[1], &channel_ops, &(struct channel_open){.kind = CHANNEL_UDP});
        channel_reset(&channels[1], ECANCELED);
        if (opened % 1000 == 0)
            still_settle(loop), far_hear(&far), still_settle(loop);
    }
    EXPECT(gone == 1 && opened > 38000 && refused > opened / 3 && refused < opened * 2 / 3);
    EXPECT_TEXT(why.text, "read nothing");
    unmake();
}

/* --- resuming ------------------------------------------------------------------------------------------------------------------- */

static int next_leg(void) {
    close(far.fd);
    return far_make(&far);
}

static void half_a_frame_survives(void) {
    make();
    struct channel *c = wide(1000);
    uint8_t frame[FRAME_HEAD + 100];
    size_t head = frame_data(frame, c->id, 100), n = head + 100;
    memset(frame + head, 'x', 100);
    for (size_t at = 0; at <= n; at++) {
        far_write(&far, frame, at);
        still_settle(loop);
        uint64_t has = mux_cut(mux);
        EXPECT(has == mux_cut(mux) && mux->kept.cut);
        EXPECT(mux_resume(mux, next_leg(), mux->kept.sent->sent, NULL) == 0);
        far_write(&far, frame + at, n - at);
        still_settle(loop);
        EXPECT(got == 100 * (at + 1) && mux->kept.received == has + n - at && cuts == 0);
    }
    unmake();
}

/* From the octet that the peer is without; not from what it never got, nor from what is no longer there. */
static void goes_on_where_the_peer_is(void) {
    make();
    struct channel *c = wide(1000);
    far_hear(&far);
    uint64_t opens = mux->kept.sent->sent;
    channel_send(c, "abcdefgh", 8);
    still_settle(loop);
    uint64_t all = mux->kept.sent->sent;
    far_ack(opens);
    still_settle(loop);
    far_hear(&far); /* else the kernel says ECONNRESET */
    close(far.fd);
    still_settle(loop);
    EXPECT(cuts == 1 && channel_room(c) == 0);
    EXPECT_TEXT(why.text, "the peer closed the link");

    struct fault f;
    far = (struct far){.fd = -1};
    EXPECT(mux_resume(mux, far_make(&far), all + 1, &f) < 0);
    EXPECT_TEXT(f.text, "it can only have");
    EXPECT(mux_resume(mux, next_leg(), opens - 1, &f) < 0);
    EXPECT(mux->kept.cut && gone == 0 && resets == 0);
    EXPECT(mux_resume(mux, next_leg(), all - 3, &f) == 0);
    still_settle(loop);
    char tail[4] = "";
    EXPECT(read(far.fd, tail, 4) == 3 && strcmp(tail, "fgh") == 0);
    EXPECT(channel_room(c) == 992);
    unmake();
}

/* Again before anything came of the first; each time all that the peer is without is sent. */
static void resumed_again_and_again(void) {
    make();
    struct channel *c = wide(UINT32_MAX);
    far_hear(&far);
    uint64_t before = mux->kept.sent->sent;
    channel_send(c, "abcdefgh", 8);
    still_settle(loop);
    for (int i = 0; i < 50; i++)
        EXPECT(mux_resume(mux, next_leg(), before, NULL) == 0);
    still_settle(loop);
    far_hear(&far);
    EXPECT(far.last[FRAME_DATA].payload_len == 8 && cuts == 0 && gone == 0);
    unmake();
}

static void acks_that_cannot_be(void) {
    make();
    far_ack(1);
    still_settle(loop);
    EXPECT(gone == 1 && cuts == 0);
    EXPECT_TEXT(why.text, "never sent");
    EXPECT(mux_resume(mux, next_leg(), 0, &why) < 0);
    EXPECT_TEXT(why.text, "the link has ended");
    unmake();

    loop = loop_new(NULL); /* and on a link that nobody keeps */
    gone = 0;
    mux = mux_new(loop, far_make(&far), true, &ops, NULL, NULL);
    far_ack(0);
    still_settle(loop);
    EXPECT(gone == 1);
    EXPECT_TEXT(why.text, "keeps nothing");
    unmake();
}

/* A goodbye, unlike an end without one, is the end. */
static void goodbye_is_no_cut(void) {
    make();
    wide(1000);
    uint8_t frame[FRAME_GOODBYE_MAX];
    far_write(&far, frame, frame_goodbye(frame, "the session ended"));
    still_settle(loop);
    EXPECT(gone == 1 && cuts == 0 && resets == 1);
    unmake();
}

/* What is opened and granted while there is no link is said on the next; a channel has no room and waits. */
static void business_while_cut(void) {
    make();
    struct channel *c = wide(1000);
    far_hear(&far);
    (void)mux_cut(mux);
    channel_want_room(c);
    channel_open(mux, &channels[1], &channel_ops, &(struct channel_open){.kind = CHANNEL_TCP});
    channel_reset(&channels[1], ECANCELED);
    still_settle(loop);
    EXPECT(channel_room(c) == 0 && rooms == 0);
    EXPECT(!channel_datagram(c, &(struct endpoint){.port = 1}, "x", 1));
    EXPECT(mux_resume(mux, next_leg(), mux->kept.sent->sent, NULL) == 0);
    still_settle(loop);
    far_hear(&far);
    EXPECT(far.opens == 1 && far.resets == 1 && rooms == 1 && channel_room(c) == 1000);
    unmake();
}

static const struct test tests[] = {
    TEST(acknowledged_by_amount),
    TEST(acknowledged_with_a_grant),
    TEST(acknowledged_by_time),
    TEST(silence_is_a_cut),
    TEST(hastened_while_one_is_stolen),
    TEST(silence_in_haste_is_a_cut),
    TEST(no_room_at_the_bound),
    TEST(deaf_peer_ends_the_link),
    TEST(half_a_frame_survives),
    TEST(goes_on_where_the_peer_is),
    TEST(resumed_again_and_again),
    TEST(acks_that_cannot_be),
    TEST(goodbye_is_no_cut),
    TEST(business_while_cut),
};
CHECK_MAIN(tests)
