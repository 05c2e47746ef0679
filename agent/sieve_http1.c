/* HTTP/1: a request's head is judged where it lies; then head and body pass, to the app or to nobody. */
#include "agent/http/http1_body.h"
#include "agent/http/http1_head.h"
#include "agent/http/line.h"
#include "agent/sieve_inner.h"

#include <stdlib.h>
#include <string.h>

enum phase {
    IN_HEAD, /* of a request that is not judged yet */
    PASSING, /* `left` octets of a head that was */
    IN_BODY,
    AWAITS,  /* what the target answers: it may end HTTP/1 */
    THROUGH, /* all that comes: another protocol's, or behind the last request */
};

struct sieve_http1 {
    struct sieve *s;
    uint8_t phase; /* enum phase */
    bool any;      /* a request was seen */
    bool matched;  /* and the app is to have it, the present one */
    uint32_t left;
    struct http1_head head;
    struct http_filter_match match;
    struct http1_body body;
};

struct sieve_http1 *sieve_http1_new(struct sieve *s) {
    struct sieve_http1 *h = calloc(1, sizeof *h);
    if (h != NULL)
        h->s = s;
    return h;
}

void sieve_http1_free(struct sieve_http1 *h) {
    free(h);
}

void sieve_http1_lost(struct sieve_http1 *h) {
    h->matched = false;
}

bool sieve_http1_owes(const struct sieve_http1 *h) {
    return h->matched && (h->phase == PASSING || h->phase == IN_BODY);
}

static void give_up(struct sieve_http1 *h, enum sieve_why why) {
    h->s->why = (uint8_t)why;
}

static void next_request(struct sieve_http1 *h) {
    memset(&h->head, 0, sizeof h->head);
    memset(&h->match, 0, sizeof h->match);
    h->matched = false;
    h->phase = IN_HEAD;
}

static void judged(struct sieve_http1 *h, const uint8_t *p) {
    const struct http1_head *head = &h->head;
    char line[HTTP_LINE];
    size_t whole = (size_t)head->target_at + head->target_n + 9; /* " HTTP/1.x" */
    bool yes = http_filter_verdict(h->s->filter, &h->match, true) == HTTP_FILTER_YES;
    h->any = true;
    h->s->ops->seen(h->s->shell, yes, line, http_line_clean(line, (const char *)p, whole));
    h->matched = yes && h->s->ops->open(h->s->shell) != SIEVE_NONE;
    h->left = head->length;
    h->phase = PASSING;
    if (head->chunked)
        http1_body_chunked(&h->body, false);
    else
        http1_body_length(&h->body, head->sized ? head->size : 0);
}

/* Whether the head is whole, or it was given up. */
static bool in_head(struct sieve_http1 *h, const uint8_t *p, size_t n, bool all) {
    const struct http1_head *head = &h->head;
    for (;;) {
        switch (http1_head_step(&h->head, p, n)) {
        case HTTP1_HEAD_LINE:
            http_filter_line(h->s->filter, &h->match, (const char *)p, head->method_n,
                             (const char *)p + head->target_at, head->target_n);
            continue;
        case HTTP1_HEAD_HEADER:
            http_filter_header(h->s->filter, &h->match, (const char *)p + head->name_at,
                               head->name_n, (const char *)p + head->value_at, head->value_n);
            continue;
        case HTTP1_HEAD_DONE:
            judged(h, p);
            return true;
        case HTTP1_HEAD_BAD:
            give_up(h, h->any ? SIEVE_MALFORMED : SIEVE_NOT_HTTP);
            return true;
        case HTTP1_HEAD_MORE:
            if (all || n >= SIEVE_HEAD)
                give_up(h, SIEVE_LONG);
            return all || n >= SIEVE_HEAD;
        }
    }
}

static void end_request(struct sieve_http1 *h) {
    const struct http1_head *head = &h->head;
    if (head->upgrade || head->connect)
        h->phase = AWAITS;
    else if (head->close || (head->minor == 0 && !head->keep_alive))
        h->phase = THROUGH; /* nobody reads what follows (RFC 9112 9.6) */
    else
        next_request(h);
    if (h->phase == THROUGH)
        h->matched = false;
}

static void awaits(struct sieve_http1 *h, size_t n) {
    int code = h->s->ops->answer(h->s->shell);
    bool tunnel = h->head.connect && code >= 200 && code < 300;
    if (code == SIEVE_NOBODY_KNOWS || (code == SIEVE_NOT_YET && n >= SIEVE_HEAD) ||
        (code == SIEVE_WENT_ON && h->head.connect))
        give_up(h, SIEVE_UNSURE);
    else if (code == 101 || tunnel)
        h->phase = THROUGH;
    else if (code != SIEVE_NOT_YET)
        next_request(h);
}

static size_t pass(struct sieve_http1 *h, const uint8_t *p, size_t n) {
    return h->matched && n > 0 ? h->s->ops->give(h->s->shell, p, n) : n;
}

/* The app's share first, and only as much as it took is the body's that was. */
static size_t in_body(struct sieve_http1 *h, const uint8_t *p, size_t n) {
    struct http1_body ahead = h->body;
    size_t whole = http1_body_take(&ahead, p, n);
    size_t taken = pass(h, p, whole);
    if (taken < whole)
        http1_body_take(&h->body, p, taken);
    else
        h->body = ahead;
    return taken;
}

size_t sieve_http1_take(struct sieve_http1 *h, const uint8_t *p, size_t n, bool all) {
    size_t at = 0;
    for (;;) {
        size_t before = at, most = n - at;
        uint8_t phase = h->phase;
        switch ((enum phase)h->phase) {
        case IN_HEAD:
            if (most == 0 || !in_head(h, p + at, most, all))
                return at;
            break;
        case PASSING:
            most = most < h->left ? most : h->left;
            at += pass(h, p + at, most);
            h->left -= (uint32_t)(at - before);
            if (h->left == 0)
                h->phase = IN_BODY;
            break;
        case IN_BODY:
            at += in_body(h, p + at, most);
            if (h->body.state == HTTP1_BODY_BAD)
                give_up(h, SIEVE_MALFORMED);
            else if (h->body.state == HTTP1_BODY_DONE)
                end_request(h);
            break;
        case AWAITS:
            awaits(h, most);
            break;
        case THROUGH:
            at += pass(h, p + at, most);
            break;
        }
        if (h->s->why != SIEVE_GOES_ON)
            return n;
        /* The answer is asked for when all before it counts as taken. */
        if ((at == before && h->phase == phase) || (at > 0 && h->phase == AWAITS))
            return at;
    }
}
