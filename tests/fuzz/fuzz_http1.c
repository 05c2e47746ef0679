/* Invariant: every octet of the client's goes to one party, in order, as it came, and to the target once more if an app lost the request that
 * it ends; to the target alone, if no filter can match;
 * every octet that the client gets is one that a party said, or the 502 of a lost app. Nothing is read behind an offer.
 *
 * Input: which filter and policy, then steps: requests and answers of the corpus, whole or with an octet changed, octets as they
 * are, ends, resets, refusals, links, time.
 *
 * Sources: exchange tests/native/play.c tests/native/gate_corpus.c native/span.c native/msgpack.c native/fault.c */
#include "native/fault.h"
#include "tests/native/gate_corpus.h"
#include "tests/native/play.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct octets said; /* by the client */

static void says(struct play *y, unsigned party, const uint8_t *p, size_t n) {
    if (y->ends[party] || (party >= APP && (!y->asked[party] || !y->accepted[party])))
        return;
    if (party == CLIENT)
        octets_add(&said, p, n);
    play_says(y, party, p, n);
}

static void forget(struct play *y, unsigned party) {
    y->asked[party] = y->ended[party] = y->ends[party] = y->taken[party] = false;
    y->says[party].n = 0;
}

static void event(struct play *y, uint8_t what, uint8_t with) {
    unsigned party = APP + with % 2;
    switch (what % 10) {
    case 0:
    case 1:
        play_ends(y, what % 10); /* the client's, the target's */
        break;
    case 2:
        if (y->asked[party] && y->accepted[party])
            play_ends(y, party);
        break;
    case 3:
        if (!y->asked[party] || !y->accepted[party])
            break;
        forget(y, party);
        exchange_reset(y->x, party, y->now);
        break;
    case 4:
        y->accept_at_once = with & 1;
        if (!y->asked[party] || y->accepted[party] || (with & 2))
            break;
        forget(y, party);
        exchange_refused(y->x, party, y->now);
        break;
    case 5:
        exchange_link(y->x, with % 2, with & 2, y->now);
        break;
    case 6:
        y->now += (uint64_t)with * 100;
        if (y->now >= exchange_deadline(y->x))
            exchange_tick(y->x, y->now);
        break;
    case 7:
        y->backlog[with % 4] = with & 4 ? EXCHANGE_BACKLOG : 0;
        break;
    case 8:
        exchange_gone(y->x, with % 2, y->now);
        break;
    default:
        exchange_drain(y->x, y->now);
    }
}

static void step(struct play *y, uint8_t what, uint8_t with, uint8_t more) {
    uint8_t one[8192];
    bool ours;
    unsigned party = what & 8 ? APP + (with & 1) : TARGET;
    size_t n;
    switch (what % 5) {
    case 0:
    case 1:
        n = corpus_plain(with * 256u + more, one, &ours);
        if (what & 16)
            one[more * 5u % n] = with;
        says(y, CLIENT, one, what & 32 ? n / 2 : n);
        break;
    case 2:
        says(y, CLIENT, (const uint8_t *)corpus_odd[with % corpus_odds].octets,
             corpus_odd[with % corpus_odds].n);
        break;
    case 3:
        n = corpus_answer(with, one);
        if (what & 16)
            one[more % n] = with;
        says(y, party, one, what & 32 ? n / 2 : n);
        break;
    default:
        event(y, with, more);
    }
}

static void check(const struct play *y, bool none) {
    CHECK(y->given.n <= said.n && (y->given.n == 0 || memcmp(y->given.p, said.p, y->given.n) == 0));
    if (y->raw >= 0)
        CHECK(y->given.n == said.n);
    if (!none)
        return;
    CHECK(y->asks[APP] == 0 && y->matched == 0 && y->told[APP].n == 0);
    if (!exchange_over(y->x) && y->raw < 0 && !y->ended[CLIENT])
        CHECK(y->given.n + y->says[CLIENT].n == said.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const rules[] = {"H:^x-for: nobody$", "H:^x-for: anna$", "M:.", "P:^/[^c]"};
    if (size < 1)
        return 0;
    struct play y;
    play_begin(&y);
    play_rule(&y, rules[data[0] % 4]);
    play_rule(&y, data[0] % 4 == 0 ? "M:^$" : "H:^x-for: bert$");
    y.rules.slot[0].on_app_gone = y.rules.slot[1].on_app_gone = data[0] / 4 % 3;
    y.pure = true;
    said.n = 0;
    const uint8_t *end = data + size;
    for (const uint8_t *p = data + 1; p < end && y.raw < 0 && !exchange_over(y.x);) {
        if (*p >= 0xc0) { /* octets as they are */
            size_t n = *p & 0x3f;
            unsigned party = n % 4 == 3 ? APP : n % 4 == 2 ? TARGET : CLIENT;
            p++;
            n = n < (size_t)(end - p) ? n : (size_t)(end - p);
            says(&y, party, p, n);
            p += n;
        } else {
            if (end - p < 3)
                break;
            step(&y, p[0], p[1], p[2]);
            p += 3;
        }
        if (!exchange_over(y.x))
            play_move(&y);
        check(&y, data[0] % 4 == 0);
    }
    play_end(&y);
    return 0;
}
