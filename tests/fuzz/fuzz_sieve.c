/* Invariant: what an app is given of a connection of HTTP/1 is a concatenation of whole requests that match, as they came; only
 * the last may lack its end, when the copying or the app ended, or what follows it is another protocol's. Nothing is read behind
 * an offer, and what comes in other pieces is judged alike.
 *
 * Input: steps: requests of the corpus, whole or with an octet changed, octets as they are, and how many of them come in one
 * piece; an app that has no room, is not to be had, goes; what the target answered.
 *
 * Sources: sieve tests/native/gate_corpus.c native/span.c native/msgpack.c native/fault.c */
#include "agent/http/filter.h"
#include "agent/http/http1_body.h"
#include "agent/http/http1_head.h"
#include "agent/sieve.h"
#include "native/fault.h"
#include "tests/native/gate_corpus.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST (256 * 1024)

struct shell {
    uint8_t in[MOST], out[MOST];
    size_t in_n, taken, left, out_n;
    size_t room;      /* of the app's */
    bool none, fresh; /* what the app's connection is when it is asked for */
    bool cut;         /* it went in the middle of something, maybe */
    int answer;
    unsigned matched, given;
};

static struct http_filter *filter;
static struct shell shell;

/* --- the oracle: one pass over what one connection of the app's was given ------------------------------------------ */

static bool matches(const uint8_t *p, size_t n, struct http1_head *head) {
    struct http_filter_match m = {0};
    memset(head, 0, sizeof *head);
    for (;;)
        switch (http1_head_step(head, p, n)) {
        case HTTP1_HEAD_LINE:
            http_filter_line(filter, &m, (const char *)p, head->method_n,
                             (const char *)p + head->target_at, head->target_n);
            continue;
        case HTTP1_HEAD_HEADER:
            http_filter_header(filter, &m, (const char *)p + head->name_at, head->name_n,
                               (const char *)p + head->value_at, head->value_n);
            continue;
        case HTTP1_HEAD_DONE:
            return http_filter_verdict(filter, &m, true) == HTTP_FILTER_YES;
        case HTTP1_HEAD_MORE:
            CHECK(shell.cut || shell.room == 0);
            head->length = (uint32_t)n; /* the last one's beginning */
            return true;
        case HTTP1_HEAD_BAD:
            return false;
        }
}

static void check_leg(void) {
    const uint8_t *p = shell.out;
    size_t n = shell.out_n;
    while (n > 0) {
        struct http1_head head;
        struct http1_body body;
        CHECK(matches(p, n, &head));
        shell.given++;
        p += head.length;
        n -= head.length;
        if (head.chunked)
            http1_body_chunked(&body, false);
        else
            http1_body_length(&body, head.sized ? head.size : 0);
        size_t took = http1_body_take(&body, p, n);
        p += took;
        n -= took;
        if (head.upgrade || head.connect)
            break; /* what follows may be anything */
        CHECK(body.state == HTTP1_BODY_DONE || n == 0);
    }
    shell.out_n = 0;
}

/* --- the shell ----------------------------------------------------------------------------------------------------- */

static enum sieve_leg on_open(void *s) {
    (void)s;
    if (shell.none)
        return SIEVE_NONE;
    if (shell.fresh)
        check_leg();
    enum sieve_leg leg = shell.fresh ? SIEVE_FRESH : SIEVE_SAME;
    shell.fresh = false;
    shell.matched++;
    return leg;
}

static size_t on_give(void *s, const void *p, size_t n) {
    (void)s;
    n = n < shell.room ? n : shell.room;
    CHECK(n <= MOST - shell.out_n);
    memcpy(shell.out + shell.out_n, p, n);
    shell.out_n += n;
    shell.room -= n;
    return n;
}

static void on_drop(void *s) {
    (void)s;
}

static int on_answer(void *s) {
    (void)s;
    return shell.answer;
}

static void on_seen(void *s, bool matched, const char *line, size_t n) {
    (void)s, (void)matched, (void)line;
    CHECK(n <= 200);
}

static const struct sieve_ops ops = {on_open, on_give, on_drop, on_answer, on_seen};

/* A piece of its own memory, no shorter than what was looked at before. */
static void offer(struct sieve *s, size_t n) {
    n = n > shell.left ? n : shell.left;
    n = n < shell.in_n - shell.taken ? n : shell.in_n - shell.taken;
    uint8_t *p = malloc(n + 1);
    memcpy(p, shell.in + shell.taken, n);
    size_t took = sieve_take(s, p, n, false);
    CHECK(took <= n);
    free(p);
    shell.taken += took;
    shell.left = n - took;
}

static void comes(const uint8_t *p, size_t n) {
    n = n < MOST - shell.in_n ? n : MOST - shell.in_n;
    memcpy(shell.in + shell.in_n, p, n);
    shell.in_n += n;
}

static void request(uint8_t which, uint8_t how) {
    uint8_t octets[8192];
    bool ours;
    unsigned number = which * 3u + how % 3u;
    size_t n = how & 0x80 ? corpus_odd_copy(number % 70, octets)
                          : corpus_plain(number % CORPUS_PLAIN, octets, &ours);
    if ((how & 0x60) == 0x60 && n > 0)
        octets[(which * 31u) % n] ^= (uint8_t)(1 + how % 64);
    comes(octets, n);
}

static void step(struct sieve *s, uint8_t what, uint8_t with) {
    static const int answers[] = {SIEVE_NOT_YET, SIEVE_NOBODY_KNOWS, SIEVE_WENT_ON, 101, 200};
    switch (what % 8) {
    case 0:
        shell.room = with & 1 ? with : MOST;
        break;
    case 1:
        shell.none = with & 1;
        break;
    case 2:
        if (with & 1) { /* it goes, whatever it has */
            sieve_lost(s);
            shell.cut = true;
            check_leg();
            shell.cut = false;
        }
        shell.fresh = true;
        break;
    case 3:
        shell.answer = answers[with % 5];
        break;
    case 4:
        offer(s, with);
        break;
    default:
        offer(s, (size_t)with * 64);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* [[[header, "^x-for: anna$"]]] */
    static const uint8_t words[] = "\x91\x91\x92\x00\xad^x-for: anna$";
    struct span packed = span_of(words, sizeof words - 1);
    if (filter == NULL)
        filter = http_filter_read(&packed, NULL);
    memset(&shell, 0, sizeof shell);
    shell.room = MOST;
    shell.answer = 200;
    struct sieve *s = sieve_new(&ops, &shell, filter);
    for (size_t at = 0; at + 3 <= size; at += 3) {
        if (data[at] & 1)
            request(data[at + 1], data[at + 2]);
        else if (data[at] & 2)
            comes(data + at + 1, 2);
        else
            step(s, data[at] >> 2, data[at + 2]);
    }
    shell.room = MOST - shell.out_n;
    for (size_t before = MOST; before != shell.taken;) {
        before = shell.taken;
        offer(s, MOST);
        offer(s, 1);
    }
    shell.cut = sieve_over(s) != SIEVE_GOES_ON || sieve_owes(s);
    check_leg();
    CHECK(shell.given <= shell.matched);
    sieve_free(s);
    return 0;
}
