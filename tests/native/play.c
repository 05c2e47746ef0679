/* See play.h. */
#include "play.h"

#include "agent/http/filter.h"

void octets_add(struct octets *o, const void *p, size_t n) {
    if (o->n + n > o->room) {
        o->room = (o->n + n) * 2;
        o->p = realloc(o->p, o->room);
    }
    if (n > 0)
        memcpy(o->p + o->n, p, n);
    o->n += n;
}

void octets_drop(struct octets *o, size_t n) {
    memmove(o->p, o->p + n, o->n - n);
    o->n -= n;
}

static void send(void *shell, unsigned party, const void *p, size_t n) {
    struct play *y = shell;
    EXPECT(n > 0 && y->raw < 0 && !y->ended[party]);
    EXPECT(party < EXCHANGE_APP || y->asked[party]);
    const uint8_t *at = p;
    bool inside = y->offered != NULL && at >= y->offered && at + n <= y->offered + y->offered_n;
    bool own = party == CLIENT && (n > 19 && (memcmp(p, "HTTP/1.1 502 Bad Ga", 19) == 0 ||
                                              memcmp(p, "mirror-run: the app", 19) == 0));
    /* A request that an app was given and lost: what was given last, once more. */
    bool again = !inside && party == TARGET && n <= y->given.n &&
                 memcmp(y->given.p + y->given.n - n, p, n) == 0;
    EXPECT(!y->pure || inside || own || again);
    y->sends[party]++;
    if (party != CLIENT && !(y->pure && again))
        octets_add(&y->given, p, n);
    octets_add(&y->told[party], p, n);
}

static void end(void *shell, unsigned party) {
    struct play *y = shell;
    EXPECT(!y->ended[party] && y->raw < 0);
    y->ended[party] = true;
    if (party >= EXCHANGE_APP && y->ends[party])
        y->ended[party] = y->ends[party] = y->taken[party] = y->asked[party] =
            false; /* forgotten */
}

static void ask(void *shell, unsigned party) {
    struct play *y = shell;
    EXPECT(party >= EXCHANGE_APP && !y->asked[party]);
    y->asked[party] = true;
    y->accepted[party] = false;
    y->asks[party]++;
    y->ended[party] = y->ends[party] = y->taken[party] = false;
    y->says[party].n = 0;
}

static void cut(void *shell, unsigned party) {
    struct play *y = shell;
    y->cuts[party]++;
    y->asked[party] = y->ended[party] = y->ends[party] = y->taken[party] = false;
    y->says[party].n = 0;
}

static void raw(void *shell, unsigned party, enum exchange_why why) {
    struct play *y = shell;
    EXPECT(y->raw < 0);
    y->raw = (int)party;
    y->why = (int)why;
}

static void seen(void *shell, int slot, const char *line, size_t n) {
    struct play *y = shell;
    EXPECT(n <= HTTP_LINE);
    y->seen++;
    y->matched += slot >= 0;
    memcpy(y->line, line, n);
    y->line[n] = '\0';
}

static size_t backlog(void *shell, unsigned party) {
    struct play *y = shell;
    return y->backlog[party];
}

static const struct exchange_ops ops = {send, end, ask, cut, raw, seen, backlog, NULL};

void play_begin(struct play *y) {
    memset(y, 0, sizeof *y);
    y->raw = -1;
    y->accept_at_once = true;
    y->now = 1000;
    y->x = exchange_new(&ops, y, &y->rules);
    EXPECT(y->x != NULL);
}

void play_end(struct play *y) {
    exchange_free(y->x);
    free(y->given.p);
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++) {
        free(y->says[i].p);
        free(y->told[i].p);
    }
    for (unsigned i = 0; i < EXCHANGE_APPS; i++)
        http_filter_free((struct http_filter *)y->rules.slot[i].filter);
}

/* "H:regex" header, "P:" path, "M:" method; '\n' between terms, "|" alone between groups. */
void play_rule(struct play *y, const char *terms) {
    uint8_t packed[4096];
    unsigned groups = 1;
    for (const char *c = terms; (c = strstr(c, "\n|\n")) != NULL; c++)
        groups++;
    struct pen w = pen_on(packed, sizeof packed);
    pen_mp_array(&w, groups);
    char copy[2048];
    snprintf(copy, sizeof copy, "%s", terms);
    for (char *group = copy; group != NULL;) {
        char *next = strstr(group, "\n|\n");
        if (next != NULL)
            *next = '\0';
        uint32_t count = 1;
        for (const char *c = group; *c != '\0'; c++)
            count += *c == '\n';
        pen_mp_array(&w, count);
        char *save;
        for (char *t = strtok_r(group, "\n", &save); t != NULL; t = strtok_r(NULL, "\n", &save)) {
            pen_mp_array(&w, 2);
            pen_mp_uint(&w, t[0] == 'H' ? 0 : t[0] == 'P' ? 1 : 2);
            pen_mp_str(&w, t + 2);
        }
        group = next != NULL ? next + 3 : NULL;
    }
    struct span s = span_of(packed, (size_t)(w.at - packed));
    struct fault f;
    unsigned slot = y->rules.count++;
    y->rules.order[slot] = (uint8_t)slot;
    struct exchange_rule *r = &y->rules.slot[slot];
    r->takes = true;
    r->link_lost_after = 5000;
    r->filter = http_filter_read(&s, &f);
    if (r->filter == NULL)
        fprintf(stderr, "%s\n", f.text);
    EXPECT(r->filter != NULL && span_left(&s) == 0);
}

static bool offer(struct play *y, unsigned party) {
    struct octets *o = &y->says[party];
    if (o->n == 0 && (!y->ends[party] || y->taken[party]))
        return false;
    uint8_t *exact = malloc(o->n ? o->n : 1);
    size_t n = o->n < EXCHANGE_HEAD ? o->n : EXCHANGE_HEAD;
    if (n > 0)
        memcpy(exact, o->p, n);
    bool last = y->ends[party] && n == o->n;
    y->offered = exact;
    y->offered_n = n;
    size_t taken = exchange_offer(y->x, party, exact, n, last, y->now);
    y->offered = NULL;
    y->offered_n = 0;
    free(exact);
    EXPECT(taken <= n);
    y->taken[party] |= last && taken == n && y->ends[party];
    if (o->n == 0)
        return false;
    octets_drop(o, taken < o->n ? taken : o->n);
    return taken > 0 && !exchange_over(y->x);
}

static bool accept_asked(struct play *y) {
    bool any = false;
    for (unsigned k = EXCHANGE_APP; k < EXCHANGE_PARTIES; k++)
        if (y->accept_at_once && y->asked[k] && !y->accepted[k]) {
            y->accepted[k] = any = true;
            exchange_accepted(y->x, k, y->now);
        }
    return any;
}

static void splice(struct play *y) {
    unsigned to = (unsigned)y->raw;
    octets_add(&y->told[to], y->says[CLIENT].p, y->says[CLIENT].n);
    octets_add(&y->given, y->says[CLIENT].p, y->says[CLIENT].n);
    octets_add(&y->told[CLIENT], y->says[to].p, y->says[to].n);
    y->says[CLIENT].n = y->says[to].n = 0;
    y->ended[to] |= y->ends[CLIENT];
    y->ended[CLIENT] |= y->ends[to];
}

void play_move(struct play *y) {
    bool more = true;
    while (more && y->raw < 0) {
        more = false;
        for (unsigned i = 0; i < EXCHANGE_PARTIES && y->raw < 0; i++)
            more |= offer(y, i);
        more |= y->raw < 0 && accept_asked(y);
    }
    if (y->raw >= 0)
        splice(y);
}

void play_says(struct play *y, unsigned party, const void *p, size_t n) {
    octets_add(&y->says[party], p, n);
    play_move(y);
}

void play_text(struct play *y, unsigned party, const char *text) {
    play_says(y, party, text, strlen(text));
}

void play_ends(struct play *y, unsigned party) {
    y->ends[party] = true;
    play_move(y);
}

bool play_told(const struct play *y, unsigned party, const void *p, size_t n) {
    return y->told[party].n == n && (n == 0 || memcmp(y->told[party].p, p, n) == 0);
}

void play_forget(struct play *y) {
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++)
        y->told[i].n = 0;
}
