/* Reassembly by transcripts, and against a model: a TCP that loses, repeats, reorders and cuts anew, watched by an observer
 * that may miss packets. Whatever happens, what was delivered is a prefix of what the target got, an end in order means all
 * of it, and an observer that missed nothing never gives up. Usage: check_reassembly [runs [seed]] */
#include "agent/reassembly.h"
#include "native/fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- transcripts ------------------------------------------------------------------------------------------------ */

static struct reassembly_budget budget;
static struct reassembly r;
static char got[1 << 16];
static size_t got_len;

static void start(uint32_t next) {
    reassembly_drop(&r);
    budget = (struct reassembly_budget){.limit = 64 * 1024 * 1024};
    reassembly_begin(&r, &budget, next);
    got[got_len = 0] = 0;
}

static void take(void) {
    struct iovec iov[3];
    int n;
    while ((n = reassembly_peek(&r, iov, 3)) > 0)
        for (int i = 0; i < n; i++) {
            memcpy(got + got_len, iov[i].iov_base, iov[i].iov_len);
            got_len += iov[i].iov_len;
            reassembly_consume(&r, iov[i].iov_len);
        }
    got[got_len] = 0;
}

static void client(uint32_t seq, uint8_t flags, const char *text) {
    struct tcp_view t = {
        .seq = seq, .flags = flags, .payload = (const uint8_t *)text, .payload_len = strlen(text)};
    reassembly_client(&r, &t);
}

static void target(uint32_t ack, uint8_t flags) {
    struct tcp_view t = {.ack = ack, .flags = (uint8_t)(flags | TCP_FLAG_ACK)};
    reassembly_target(&r, &t);
    take();
}

#define EXPECT(text, how) CHECK(strcmp(got, text) == 0 && r.end == (how))

static void in_order(void) {
    start(100);
    client(100, 0, "abc");
    take();
    EXPECT("", REASSEMBLY_OPEN); /* not before the ACK */
    target(102, 0);
    EXPECT("ab", REASSEMBLY_OPEN);
    client(103, TCP_FLAG_FIN, "d");
    target(105, 0);
    EXPECT("abcd", REASSEMBLY_EOF);
}

static void out_of_order_over_the_wrap(void) {
    start(0xfffffffe);
    client(2, 0, "ef");
    client(0xfffffffe, 0, "ab");
    client(4, TCP_FLAG_FIN, "");
    target(0, 0);
    EXPECT("ab", REASSEMBLY_OPEN);
    client(0, 0, "cd");
    target(5, 0);
    EXPECT("abcdef", REASSEMBLY_EOF);
}

static void retransmission_in_other_pieces(void) {
    start(10);
    client(12, 0, "cd");
    client(15, 0, "f");
    client(10, 0, "abcdefg");
    client(11, 0, "bcdefgh");
    target(18, 0);
    EXPECT("abcdefgh", REASSEMBLY_OPEN);
    CHECK(budget.held == 0);
}

static void a_hole_is_the_end(void) {
    start(10);
    client(10, 0, "ab");
    client(13, 0, "d");
    target(14, 0);
    EXPECT("", REASSEMBLY_HOLE);
    CHECK(budget.held == 0);
}

static void copies_that_differ(void) {
    start(10);
    client(10, 0, "ab");
    client(10, 0, "aX");
    EXPECT("", REASSEMBLY_CONFLICT);
    start(10);
    client(10, 0, "ab");
    target(12, 0);
    client(10, 0, "XX"); /* settled: nobody cares */
    client(11, 0, "X");  /* a keep-alive probe's garbage */
    EXPECT("ab", REASSEMBLY_OPEN);
}

static void resets(void) {
    start(10);
    client(10, 0, "ab");
    client(9, TCP_FLAG_RST, "");
    client(13, TCP_FLAG_RST, "");
    EXPECT("", REASSEMBLY_OPEN); /* neither is where the target is */
    client(12, TCP_FLAG_RST, "");
    EXPECT("", REASSEMBLY_RESET);
    start(10);
    client(10, 0, "ab");
    target(12, TCP_FLAG_RST);
    EXPECT("ab", REASSEMBLY_RESET); /* what was acknowledged still comes */
}

static void reset_by_who_acknowledges_the_fin(void) {
    start(10);
    client(10, TCP_FLAG_FIN, "ab");
    target(13, TCP_FLAG_RST);
    EXPECT("ab", REASSEMBLY_RESET);
    CHECK(reassembly_readable(&r) == 0 && budget.held == 0);
}

static void data_in_the_syn(void) {
    start(11);
    client(10, TCP_FLAG_SYN, "ab");
    target(11, TCP_FLAG_SYN);
    EXPECT("", REASSEMBLY_OPEN);
    client(11, 0, "abc"); /* not taken with the SYN: sent again */
    target(14, 0);
    EXPECT("abc", REASSEMBLY_OPEN);
}

static void a_zero_window_probe_is_kept_until_taken(void) {
    start(10);
    client(10, 0, "a");
    target(10, 0);
    client(10, 0, "abc");
    target(13, 0);
    EXPECT("abc", REASSEMBLY_OPEN);
}

static void nonsense_far_away(void) {
    start(10);
    client(10 + 0x50000000u, 0, "far");
    client(10 - 0x50000000u, 0, "far");
    target(10 + 0x50000000u, 0);
    CHECK(budget.held == 0);
    EXPECT("", REASSEMBLY_OPEN);
}

static void bounds(void) {
    static char big[65536];
    memset(big, 'x', sizeof big - 1);
    start(0);
    size_t n = 0;
    for (; r.end == REASSEMBLY_OPEN; n += 65535)
        client((uint32_t)n, 0, big);
    CHECK(r.end == REASSEMBLY_OVERFLOW && n > 3 * 1024 * 1024 && n <= REASSEMBLY_MOST + 65535 &&
          budget.held == 0);
    start(0);
    budget.held = budget.limit - 1024; /* others hold it: half of what is left, no more */
    client(0, 0, "fits");
    CHECK(r.end == REASSEMBLY_OPEN);
    big[1000] = 0;
    client(4, 0, big);
    CHECK(r.end == REASSEMBLY_OVERFLOW);
    start(0);
    for (uint32_t i = 1; r.end == REASSEMBLY_OPEN; i++) {
        CHECK(i <= REASSEMBLY_LATE + 1);
        client(2 * i, 0, "x");
    }
    CHECK(r.end == REASSEMBLY_OVERFLOW);
}

static void in_order_is_never_late(void) {
    start(0);
    for (uint32_t i = 0; i < 2 * REASSEMBLY_LATE; i++)
        client(i, 0, "x");
    CHECK(r.end == REASSEMBLY_OPEN);
    target(2 * REASSEMBLY_LATE, 0);
    CHECK(got_len == 2 * REASSEMBLY_LATE && budget.held == 0);
}

/* --- the model -------------------------------------------------------------------------------------------------- */

static uint64_t state;

static uint32_t draw(uint32_t below) { /* xorshift64*: Vigna, "An experimental exploration" */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32) % below;
}

#define STREAM 6000

struct model {
    uint8_t stream[STREAM + 1]; /* what the client's program wrote */
    uint32_t length, isn;
    uint32_t taken;       /* the target has this many octets, in order */
    bool has[STREAM + 1]; /* what came to the target; the last is the FIN */
    bool target_eof;
    uint32_t misses; /* one in so many packets is not seen by the observer; 0: sees all */
    uint32_t
        drops; /* one in so many is seen, but not taken by the target (no memory, bad option) */
    uint8_t *delivered;
    uint32_t delivered_len;
};

static void deliver(struct model *m) {
    struct iovec iov[4];
    int n;
    while (draw(3) > 0 && (n = reassembly_peek(&r, iov, 4)) > 0) {
        size_t some = iov[0].iov_len > 1 ? 1 + draw((uint32_t)iov[0].iov_len) : iov[0].iov_len;
        CHECK(m->delivered_len + some <= m->taken);
        CHECK(memcmp(m->stream + m->delivered_len, iov[0].iov_base, some) == 0);
        m->delivered_len += (uint32_t)some;
        reassembly_consume(&r, some);
    }
}

static void target_says(struct model *m) {
    struct tcp_view t = {.flags = TCP_FLAG_ACK, .ack = m->isn + 1 + m->taken + m->target_eof};
    if (m->misses == 0 || draw(m->misses) > 0)
        reassembly_target(&r, &t);
    deliver(m);
}

/* A segment arrives in front of the target: the observer sees it first. */
static void arrive(struct model *m, uint32_t at, uint32_t n, bool fin) {
    uint8_t *copy = malloc(n + 1); /* exactly sized, for the address sanitizer */
    memcpy(copy, m->stream + at, n);
    struct tcp_view t = {
        .seq = m->isn + 1 + at, .flags = fin ? TCP_FLAG_FIN : 0, .payload = copy, .payload_len = n};
    if (m->misses == 0 || draw(m->misses) > 0)
        reassembly_client(&r, &t);
    free(copy);
    if (m->drops > 0 && draw(m->drops) == 0)
        return;
    memset(m->has + at, 1, n);
    m->has[m->length] |= fin;
    while (m->taken < m->length && m->has[m->taken])
        m->taken++;
    m->target_eof = m->taken == m->length && m->has[m->length];
}

static void send_some(struct model *m) {
    uint32_t window = 1500;
    uint32_t at = m->taken > 40 && draw(8) == 0 ? m->taken - draw(40) : m->taken + draw(window);
    if (at > m->length)
        at = m->length;
    uint32_t n = 1 + draw(draw(4) == 0 ? 900 : 90);
    if (n > m->length - at)
        n = m->length - at;
    arrive(m, at, n, at + n == m->length);
}

static void one_run(void) {
    static const uint32_t rates[] = {0, 0, 7, 60, 2000};
    struct model m = {
        .length = 1 + draw(STREAM), .misses = rates[draw(5)], .drops = rates[draw(5)]};
    m.isn = draw(2) ? 0u - draw(STREAM) : draw(0xffffffffu);
    for (uint32_t i = 0; i < m.length; i++)
        m.stream[i] = (uint8_t)draw(256);
    start(m.isn + 1);
    for (int i = 0; i < 20000 && !m.target_eof; i++) {
        send_some(&m);
        if (draw(3) == 0)
            target_says(&m);
    }
    CHECK(m.target_eof);
    for (int i = 0; i < 200 && r.end == REASSEMBLY_OPEN; i++)
        target_says(&m);
    while (reassembly_readable(&r) > 0)
        deliver(&m);
    CHECK(r.end == REASSEMBLY_EOF || (r.end == REASSEMBLY_HOLE && m.misses > 0));
    CHECK(r.end != REASSEMBLY_EOF || m.delivered_len == m.length);
    CHECK(budget.held == 0);
}

int main(int argc, char **argv) {
    in_order();
    out_of_order_over_the_wrap();
    retransmission_in_other_pieces();
    a_hole_is_the_end();
    copies_that_differ();
    resets();
    reset_by_who_acknowledges_the_fin();
    data_in_the_syn();
    a_zero_window_probe_is_kept_until_taken();
    nonsense_far_away();
    bounds();
    in_order_is_never_late();
    int runs = argc > 1 ? atoi(argv[1]) : 200;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 20240229;
    int holes = 0;
    for (int i = 0; i < runs; i++) {
        state = seed + (uint64_t)i * 0x9e3779b97f4a7c15ull;
        one_run();
        holes += r.end == REASSEMBLY_HOLE;
    }
    reassembly_drop(&r);
    CHECK(runs < 100 || (holes > runs / 20 && holes < runs)); /* both ends were really met */
    printf("%d runs, %d ended by a hole\n", runs, holes);
    return 0;
}
