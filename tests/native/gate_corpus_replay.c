/* The corpus through the exchange, in every split: what each party was told is, octet for octet, what was sent to it; the
 * answers come back in the requests' order. And what is not to be decided reaches the target whole. */
#include "gate_corpus.h"
#include "play.h"

enum { NONE, ALL, SOME };

static uint64_t dice;

static size_t roll(size_t below) { /* xorshift: the same in every run */
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return below == 0 ? 0 : dice % below;
}

/* 0: whole; 1: octet by octet; else random pieces up to so long. */
static size_t piece(size_t split, size_t left) {
    size_t n = split == 0 ? left : split == 1 ? 1 : 1 + roll(split);
    return n < left ? n : left;
}

static void say(struct play *y, unsigned party, const uint8_t *p, size_t n, size_t split) {
    for (size_t at = 0, part; at < n; at += part) {
        part = piece(split, n - at);
        play_says(y, party, p + at, part);
    }
}

struct replay {
    struct play y;
    struct octets sent[EXCHANGE_PARTIES]; /* what each is to be told */
    struct octets all;
    unsigned first, count, answered;
    size_t until[64]; /* what the party of request i is to have when it can answer */
    unsigned party[64];
};

static void build(struct replay *r, unsigned first, unsigned count, int which) {
    uint8_t one[8192];
    r->first = first;
    r->count = count;
    for (unsigned i = 0; i < count; i++) {
        bool ours;
        size_t n = corpus_plain((first + i * 37) % CORPUS_PLAIN, one, &ours);
        ours = which == ALL || (which == SOME && ours);
        r->party[i] = ours ? APP : TARGET;
        octets_add(&r->sent[r->party[i]], one, n);
        octets_add(&r->all, one, n);
        r->until[i] = r->sent[r->party[i]].n;
        octets_add(&r->sent[CLIENT], one, corpus_answer((first + i * 37) % CORPUS_PLAIN, one));
    }
}

static void answer(struct replay *r, size_t split) {
    uint8_t one[8192];
    while (r->answered < r->count) {
        unsigned i = r->answered;
        if (r->y.told[r->party[i]].n < r->until[i])
            return;
        r->answered++;
        say(&r->y, r->party[i], one, corpus_answer((r->first + i * 37) % CORPUS_PLAIN, one), split);
    }
}

static void check(struct replay *r) {
    for (unsigned k = 0; k <= APP; k++)
        if (!play_told(&r->y, k, r->sent[k].p, r->sent[k].n)) {
            fprintf(stderr, "from request %u: party %u was told %zu octets of %zu: %.*s\n",
                    r->first, k, r->y.told[k].n, r->sent[k].n, (int)r->y.told[k].n,
                    (const char *)r->y.told[k].p);
            exit(1);
        }
}

static void replay(unsigned first, unsigned count, int which, size_t split) {
    static const char *const rules[] = {"H:^x-for: nobody$", "M:.", "H:^x-for: anna$"};
    struct replay *r = calloc(1, sizeof *r);
    play_begin(&r->y);
    play_rule(&r->y, rules[which]);
    build(r, first, count, which);
    for (size_t at = 0, part; at < r->all.n; at += part) {
        part = piece(split, r->all.n - at);
        play_says(&r->y, CLIENT, r->all.p + at, part);
        answer(r, split);
    }
    answer(r, split);
    check(r);
    EXPECT(r->y.raw < 0 && r->y.seen == count && r->answered == count);
    play_ends(&r->y, CLIENT);
    EXPECT(r->y.raw == TARGET && r->y.why == EXCHANGE_WHY_ENDED && r->y.ended[TARGET]);
    check(r);
    play_end(&r->y);
    for (unsigned k = 0; k <= APP; k++)
        free(r->sent[k].p);
    free(r->all.p);
    free(r);
}

static void all_of_it(int which, size_t split) {
    dice = 88172645463325252u + split;
    for (unsigned first = 0; first < CORPUS_PLAIN / 24; first++)
        replay(first, 24, which, split); /* 37 and 648 have no divisor in common: all are met */
}

static void whole(void) {
    for (int which = NONE; which <= SOME; which++)
        all_of_it(which, 0);
}

static void octet_by_octet(void) {
    for (int which = NONE; which <= SOME; which++)
        all_of_it(which, 1);
}

static void random_splits(void) {
    for (int which = NONE; which <= SOME; which++)
        for (size_t split = 7; split < 1000; split *= 5)
            all_of_it(which, split);
}

static void one_by_one(void) {
    for (unsigned i = 0; i < CORPUS_PLAIN; i++)
        replay(i, 1, SOME, i % 3 * 5);
}

/* The target gets everything, whatever came before; and it gets it without being waited for. */
static void odd(const struct corpus_odd *o, size_t split, bool behind) {
    static const char before[] = "GET / HTTP/1.1\r\nHost: a\r\nx-for: anna\r\n\r\n";
    static const char reply[] = "HTTP/1.1 204 No Content\r\n\r\n";
    struct play y;
    play_begin(&y);
    play_rule(&y, "H:^x-for: anna$");
    if (behind) {
        play_text(&y, CLIENT, before);
        play_text(&y, APP, reply);
        TOLD(&y, APP, before);
        TOLD(&y, CLIENT, reply);
    }
    say(&y, CLIENT, (const uint8_t *)o->octets, o->n, split);
    if (y.raw != TARGET || !play_told(&y, TARGET, o->octets, o->n) || y.told[APP].n > 0) {
        fprintf(stderr, "%s, in pieces of %zu: raw %d, the target was told %zu of %zu\n", o->name,
                split, y.raw, y.told[TARGET].n, o->n);
        exit(1);
    }
    play_end(&y);
}

static void what_is_odd_is_the_targets(void) {
    for (size_t i = 0; i < corpus_odds; i++)
        for (size_t split = 0; split < 20; split = split * 3 + 1) {
            odd(&corpus_odd[i], split, false);
            odd(&corpus_odd[i], split, true);
        }
}

static const struct test tests[] = {
    TEST(whole),
    TEST(octet_by_octet),
    TEST(one_by_one),
    TEST(random_splits),
    TEST(what_is_odd_is_the_targets),
};
CHECK_MAIN(tests)
