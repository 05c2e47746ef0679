/* One multiplexer against a peer whose octets the test writes itself: the protocol's breaches, frames cut anywhere, what is
 * granted when, and a peer that does not read. */
#include "check.h"
#include "mux_inner.h"
#include "pair.h"
#include "span.h"

#include <errno.h>
#include <sys/socket.h>

static struct loop *loop;
static struct end *end;
static uint8_t answer[8 * 1024 * 1024];

static void make(bool odd) {
    loop = loop_new(NULL);
    end = pair_half(loop, odd);
}

static void unmake(void) {
    end_free(end);
    loop_free(loop);
}

static bool is_gone(void *arg) {
    (void)arg;
    return end->gone > 0;
}

static void write_open(uint32_t id, uint32_t key, uint32_t window) {
    uint8_t head[FRAME_HEAD];
    struct channel_open o = {.kind = CHANNEL_TCP, .window = window, .target = key};
    raw_write(end, head, frame_open(head, id, &o));
}

static void write_number(enum frame_tag tag, uint32_t id, uint32_t number) {
    uint8_t head[FRAME_HEAD];
    raw_write(end, head, frame_number(head, tag, id, number));
}

static void write_eof(uint32_t id) {
    uint8_t head[FRAME_HEAD];
    raw_write(end, head, frame_eof(head, id));
}

static void write_data(uint32_t id, uint64_t offset, size_t n) {
    static uint8_t frame[FRAME_HEAD + MUX_FRAME_DATA + 1];
    size_t head = frame_data(frame, id, n);
    for (size_t i = 0; i < n; i++)
        frame[head + i] = (uint8_t)((offset + i) % 251);
    raw_write(end, frame, head + n);
}

/* The next frame of what the mux said; false: none. */
static bool next_frame(struct span *s, struct frame *f) {
    uint32_t n;
    const uint8_t *p;
    return span_u32(s, &n) && span_take(s, n, &p) && frame_read(p, n, f) == NULL;
}

/* How many frames of this tag the mux said since the last time. */
static int said(enum frame_tag tag, struct frame *last) {
    struct span s = span_of(answer, raw_read(end, answer, sizeof answer));
    struct frame f;
    int count = 0;
    while (next_frame(&s, &f)) {
        if (f.tag == tag) {
            count++;
            *last = f;
        }
    }
    EXPECT(span_left(&s) == 0);
    return count;
}

/* --- breaches ----------------------------------------------------------------------------------------------------- */

static void over_run(void) {
    write_data(2, 0, end->window + 1);
}
static void data_before_opened(void) {
    write_data(1, 0, 10);
}
static void unknown_tag(void) {
    raw_write(end, "\0\0\0\3\x92\x49\1", 7);
}
static void no_msgpack(void) {
    raw_write(end, "\0\0\0\1\xc1", 5);
}
static void empty_frame(void) {
    raw_write(end, "\0\0\0\0", 4);
}
static void too_long(void) {
    raw_write(end, "\0\1\0\x81", 4);
}
static void our_parity(void) {
    write_open(3, 5, 100);
}
static void number_zero(void) {
    write_open(0, 5, 100);
}
static void number_in_use(void) {
    write_open(2, 5, 100);
}
static void number_used_before(void) {
    write_number(FRAME_RESET, 2, 0), write_open(2, 5, 100);
}
static void never_opened(void) {
    write_number(FRAME_GRANT, 4, 1);
}
static void never_opened_ours(void) {
    write_number(FRAME_GRANT, 3, 1);
}
static void opened_twice(void) {
    write_number(FRAME_OPENED, 1, 1), write_number(FRAME_OPENED, 1, 1);
}
static void opened_by_us(void) {
    write_number(FRAME_OPENED, 2, 1);
}
static void data_after_eof(void) {
    write_eof(2), write_data(2, 0, 1);
}
static void eof_twice(void) {
    write_eof(2), write_eof(2);
}
static void too_much_credit(void) {
    write_number(FRAME_GRANT, 2, UINT32_MAX);
    write_number(FRAME_GRANT, 2, UINT32_MAX);
}

/* Channel 1 is ours and not answered yet, channel 2 is the peer's and open. */
static void breaches(void) {
    static const struct {
        void (*commit)(void);
        const char *sentence;
    } cases[] = {
        {over_run, "more octets than were granted"},
        {data_before_opened, "a channel that is not open"},
        {unknown_tag, "an unknown kind"},
        {no_msgpack, "no array"},
        {empty_frame, "no array"},
        {too_long, "longer than any may be"},
        {our_parity, "ours to give"},
        {number_zero, "ours to give"},
        {number_in_use, "used before"},
        {number_used_before, "used before"},
        {never_opened, "never opened"},
        {never_opened_ours, "never opened"},
        {opened_twice, "opened twice"},
        {opened_by_us, "opened twice"},
        {data_after_eof, "octets after their end"},
        {eof_twice, "had ended"},
        {too_much_credit, "more credit"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(true);
        end->window = 1000;
        struct talk *ours = talk_open(end, CHANNEL_TCP, 0, 1000, 0);
        write_open(2, 1, 1000);
        run_turns(loop, 3);
        EXPECT(channel_attached(&ours->channel) && channel_attached(&end->talks[1]->channel));
        cases[i].commit();
        run_until(loop, is_gone, NULL);
        EXPECT_TEXT(end->why.text, "the peer sent");
        EXPECT_TEXT(end->why.text, cases[i].sentence);
        EXPECT(ours->resets == 1 && ours->err == ENETRESET && end->gone == 1);
        struct frame goodbye;
        EXPECT(said(FRAME_GOODBYE, &goodbye) == 1);
        EXPECT(memmem(goodbye.payload, goodbye.payload_len, cases[i].sentence,
                      strlen(cases[i].sentence)));
        unmake();
    }
}

static void goodbye(void) {
    make(false);
    uint8_t frame[FRAME_GOODBYE_MAX];
    raw_write(end, frame, frame_goodbye(frame, "the session ended"));
    run_until(loop, is_gone, NULL);
    EXPECT_TEXT(end->why.text, "the peer ended the link: the session ended");
    unmake();
}

/* The peer said why and went, while we were writing: its sentence is the reason, not our broken pipe. */
static void goodbye_ahead_of_a_broken_pipe(void) {
    make(true);
    struct talk *t = talk_open(end, CHANNEL_TCP, 0, 1000, 0);
    write_number(FRAME_OPENED, 1, 1000000);
    run_turns(loop, 3);
    uint8_t frame[FRAME_GOODBYE_MAX];
    raw_write(end, frame, frame_goodbye(frame, "enough"));
    (void)raw_read(
        end, answer,
        sizeof answer); /* else the kernel says ECONNRESET instead of giving us what it said */
    close(end->raw);
    end->raw = -1;
    static const uint8_t payload[65536];
    channel_send(&t->channel, payload, sizeof payload);
    run_until(loop, is_gone, NULL);
    EXPECT_TEXT(end->why.text, "enough");
    unmake();
}

/* --- what is tolerated -------------------------------------------------------------------------------------------- */

static void frames_for_the_forgotten(void) {
    make(true);
    struct talk *ours = talk_open(end, CHANNEL_TCP, 0, 1000, 0);
    write_number(FRAME_OPENED, 1, 1000);
    write_open(2, 1, 1000);
    run_turns(loop, 3);
    channel_reset(&ours->channel, ECONNRESET);
    channel_reset(&end->talks[1]->channel, ECONNRESET);
    for (uint32_t id = 1; id <= 2; id++) {
        write_data(id, 0, 500);
        write_number(FRAME_GRANT, id, 5);
        write_eof(id);
        write_number(FRAME_RESET, id, ECONNRESET);
    }
    run_turns(loop, 5);
    EXPECT(end->gone == 0 && ours->got == 0 && ours->resets == 0 && mux_channels(end->mux) == 0);
    unmake();
}

/* Numbers begin again after the last; those in use and 0 are passed over, and frames late for old numbers are known. */
static void numbers_wrap(void) {
    make(false);
    struct talk *old = talk_open(end, CHANNEL_TCP, 0, 10, 0);
    EXPECT(old->channel.id == 2);
    write_open(1, 1, 10);
    run_turns(loop, 3);
    for (uint32_t hop = 0; hop < 3; hop++) { /* each less than 2^31 further: newer */
        write_open(0x7ffffff0u * (hop + 1) | 1, 2 + hop, 10);
        run_turns(loop, 3);
        EXPECT(end->gone == 0 && end->opens == 2 + hop);
    }
    write_number(FRAME_GRANT, 0x7fffff01, 1); /* long past */
    end->mux->own_next = 0xfffffffe;
    EXPECT(talk_open(end, CHANNEL_TCP, 10, 10, 0)->channel.id == 0xfffffffe);
    EXPECT(talk_open(end, CHANNEL_TCP, 11, 10, 0)->channel.id == 4); /* 0 is none, 2 is in use */
    run_turns(loop, 3);
    EXPECT(end->gone == 0);
    unmake();
}

/* The same octets in pieces of every small size, and in large ones that straddle the buffer's end. */
static void cut_anywhere(void) {
    static uint8_t stream[3 * 1024 * 1024];
    for (size_t piece = 1; piece < 100000; piece = piece * 3 + 1) {
        make(true);
        end->window = UINT32_MAX;
        size_t total = piece < 100 ? 30000 : 2 * 1024 * 1024, n = 0, offset = 0;
        struct channel_open o = {.kind = CHANNEL_TCP, .window = 0, .target = 1};
        n += frame_open(stream, 2, &o);
        for (size_t size = 1; offset < total; size = (size * 7 + 3) % MUX_FRAME_DATA + 1) {
            size = size < total - offset ? size : total - offset;
            n += frame_data(stream + n, 2, size);
            for (size_t i = 0; i < size; i++)
                stream[n++] = (uint8_t)((offset + i) % 251);
            offset += size;
        }
        for (size_t at = 0; at < n; at += piece) {
            raw_write(end, stream + at, piece < n - at ? piece : n - at);
            run_turns(loop, 2);
        }
        run_turns(loop, 10);
        EXPECT(end->gone == 0 && end->talks[1]->got == total);
        unmake();
    }
}

/* --- credit ------------------------------------------------------------------------------------------------------- */

static void grants(void) {
    make(true);
    struct frame f;
    end->window = 64000;
    end->hoard = true;
    write_open(2, 1, 0);
    run_turns(loop, 3);
    EXPECT(said(FRAME_OPENED, &f) == 1 && f.octets == 64000);
    struct channel *c = &end->talks[1]->channel;

    write_data(2, 0, 40000);
    run_turns(loop, 3);
    channel_grant(c, 15999);
    run_turns(loop, 3);
    EXPECT(said(FRAME_GRANT, &f) == 0); /* not a quarter yet */
    channel_grant(c, 1);
    run_turns(loop, 3);
    EXPECT(said(FRAME_GRANT, &f) == 1 && f.octets == 16000);

    write_data(2, 40000, 40000); /* all: the peer has nothing left */
    run_turns(loop, 3);
    channel_grant(c, 3999);
    run_turns(loop, 3);
    EXPECT(said(FRAME_GRANT, &f) == 0);
    channel_grant(c, 1); /* a sixteenth: told already */
    run_turns(loop, 3);
    EXPECT(said(FRAME_GRANT, &f) == 1 && f.octets == 4000);
    unmake();
}

/* Of a large window little may be ungranted: over a long way what is missing is rate. */
static void grants_of_a_large_window(void) {
    static const struct {
        uint32_t window, step;
    } cases[] = {
        {1024 * 1024, 256 * 1024}, {2 * 1024 * 1024, 256 * 1024}, {8 * 1024 * 1024, 512 * 1024}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(true);
        struct frame f;
        end->window = cases[i].window;
        end->hoard = true;
        write_open(2, 1, 0);
        run_turns(loop, 3);
        EXPECT(said(FRAME_OPENED, &f) == 1 && f.octets == cases[i].window);
        struct channel *c = &end->talks[1]->channel;
        for (uint32_t at = 0; at < cases[i].step; at += 32 * 1024) {
            write_data(2, at, 32 * 1024);
            run_turns(loop, 2);
        }
        channel_grant(c, cases[i].step - 1);
        run_turns(loop, 3);
        EXPECT(said(FRAME_GRANT, &f) == 0);
        channel_grant(c, 1);
        run_turns(loop, 3);
        EXPECT(said(FRAME_GRANT, &f) == 1 && f.octets == cases[i].step);
        unmake();
    }
}

/* --- a peer that does not read -------------------------------------------------------------------------------------- */

static void queue_is_bounded(void) {
    make(true);
    struct frame f;
    struct talk *t = talk_open(end, CHANNEL_TCP, 0, 1000, UINT32_MAX);
    write_number(FRAME_OPENED, 1, UINT32_MAX);
    run_turns(loop, 100);
    EXPECT(t->sent > MUX_QUEUE && t->sent < 3 * MUX_QUEUE && t->rooms == 0);
    EXPECT(channel_room(&t->channel) == 0);

    /* What has no credit still fits, and comes in order once the peer reads. */
    for (uint32_t i = 1; i <= 10000; i++)
        talk_open(end, CHANNEL_TCP, i, 1000, 0);
    run_turns(loop, 3);
    EXPECT(end->gone == 0);
    int opens = 0;
    uint64_t octets = 0, stop = t->sent;
    static uint8_t carry[16 * 1024 * 1024];
    size_t have = 0;
    t->to_send = stop;
    while (opens < 10001 || octets < stop) {
        have += raw_read(end, carry + have, sizeof carry - have);
        struct span s = span_of(carry, have);
        for (struct span before = s; next_frame(&s, &f); before = s) {
            opens += f.tag == FRAME_OPEN;
            octets += f.tag == FRAME_DATA ? f.payload_len : 0;
            have = span_left(&s);
            (void)before;
        }
        memmove(carry, s.end - have, have);
        run_turns(loop, 2);
    }
    EXPECT(opens == 10001 && octets == stop && end->gone == 0);
    unmake();
}

static void deaf_peer_ends_the_link(void) {
    make(true);
    uint32_t opened = 0;
    while (!end->gone && opened < 1000000) {
        struct talk *t = talk_open(end, CHANNEL_TCP, 0, 1000, 0);
        channel_reset(&t->channel, ECANCELED);
        talk_free(t);
        if (++opened % 1000 == 0)
            run_turns(loop, 2);
    }
    EXPECT(opened > 38000 && opened < 200000);
    EXPECT_TEXT(end->why.text, "read nothing");
    unmake();
}

static const struct test tests[] = {
    TEST(breaches),
    TEST(goodbye),
    TEST(goodbye_ahead_of_a_broken_pipe),
    TEST(frames_for_the_forgotten),
    TEST(numbers_wrap),
    TEST(cut_anywhere),
    TEST(grants),
    TEST(grants_of_a_large_window),
    TEST(queue_is_bounded),
    TEST(deaf_peer_ends_the_link),
};
CHECK_MAIN(tests)
