/* The corpus through a sieve: of all requests on one connection the app gets those that are ours, octet for octet, whatever the
 * pieces in which they come; of what could be read in two ways it gets nothing, and nothing of what follows. */
#include "agent/http/filter.h"
#include "agent/sieve.h"

#include "check.h"
#include "gate_corpus.h"

#define ALL (CORPUS_PLAIN * 8192)

struct shell {
    uint8_t *out;
    size_t n;
    unsigned opens, seen, matched;
};

static struct http_filter *filter;

static enum sieve_leg open_leg(void *s) {
    ((struct shell *)s)->opens++;
    return SIEVE_SAME;
}

static size_t give(void *s, const void *p, size_t n) {
    struct shell *shell = s;
    memcpy(shell->out + shell->n, p, n);
    shell->n += n;
    return n;
}

static void drop(void *s) {
    (void)s;
    EXPECT(false);
}

static int answer(void *s) {
    (void)s;
    return 200; /* the protocol never changes */
}

static void seen(void *s, bool matched, const char *line, size_t n) {
    struct shell *shell = s;
    EXPECT(n > 0 && line[0] >= 'A');
    shell->seen++;
    shell->matched += matched;
}

static const struct sieve_ops ops = {open_leg, give, drop, answer, seen};

static void begin(struct shell *shell) {
    static const uint8_t words[] = "\x91\x91\x92\x00\xad^x-for: anna$";
    struct span packed = span_of(words, sizeof words - 1);
    *shell = (struct shell){.out = malloc(ALL)};
    filter = http_filter_read(&packed, NULL);
    EXPECT(filter && shell->out);
}

static void end(struct shell *shell) {
    http_filter_free(filter);
    free(shell->out);
}

/* Pieces of so many octets and what was not taken of the ones before, each in memory of its own. */
static void offer(struct sieve *s, const uint8_t *p, size_t n, size_t piece) {
    size_t left = 0;
    for (size_t at = 0; at + left < n || left > 0;) {
        size_t have = left + piece < n - at ? left + piece : n - at;
        uint8_t *copy = malloc(have);
        memcpy(copy, p + at, have);
        size_t took = sieve_take(s, copy, have, false);
        free(copy);
        EXPECT(took > 0 || have < n - at || at + have == n);
        at += took;
        left = have - took;
        if (at + have - took == n && took == 0)
            return;
    }
}

static void plain(size_t piece) {
    struct shell shell;
    begin(&shell);
    uint8_t *all = malloc(ALL), *wanted = malloc(ALL);
    size_t n = 0, wanted_n = 0;
    unsigned mine = 0, count = 0;
    for (unsigned i = 0; i < CORPUS_PLAIN; i++) {
        bool ours;
        size_t one = corpus_plain(i, all + n, &ours);
        if (memmem(all + n, one, "lose", 4) != NULL || memmem(all + n, one, "HTTP/1.0", 8) != NULL)
            continue; /* the connection's last */
        count++;
        mine += ours;
        if (ours) {
            memcpy(wanted + wanted_n, all + n, one);
            wanted_n += one;
        }
        n += one;
    }
    struct sieve *s = sieve_new(&ops, &shell, filter);
    offer(s, all, n, piece);
    EXPECT(sieve_over(s) == SIEVE_GOES_ON && !sieve_owes(s) && sieve_idle(s));
    EXPECT(count > 200 && mine > 50);
    EXPECT(shell.seen == count && shell.matched == mine && shell.opens == mine);
    EXPECT(shell.n == wanted_n && memcmp(shell.out, wanted, wanted_n) == 0);
    sieve_free(s);
    free(all);
    free(wanted);
    end(&shell);
}

static void whole(void) {
    plain(SIEVE_HEAD);
}

static void octet_by_octet(void) {
    plain(1);
}

static void by_sevens(void) {
    plain(7);
}

static void odd_ones_end_it(void) {
    static const char mine[] = "GET /behind HTTP/1.1\r\nHost: x\r\nx-for: anna\r\n\r\n";
    struct shell shell;
    begin(&shell);
    for (unsigned i = 0; i < corpus_odds; i++) {
        uint8_t text[8192 + sizeof mine];
        size_t n = corpus_odd_copy(i, text);
        memcpy(text + n, mine, sizeof mine - 1);
        shell.n = 0;
        struct sieve *s = sieve_new(&ops, &shell, filter);
        offer(s, text, n + sizeof mine - 1, 4096);
        EXPECT(memmem(shell.out, shell.n, "/behind", 7) == NULL);
        sieve_free(s);
    }
    end(&shell);
}

int main(int argc, char **argv) {
    static const struct test tests[] = {
        TEST(whole),
        TEST(octet_by_octet),
        TEST(by_sevens),
        TEST(odd_ones_end_it),
    };
    return check_main(tests, sizeof tests / sizeof *tests, argc, argv);
}
