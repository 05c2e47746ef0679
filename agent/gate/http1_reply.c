/* The answers' side: the party that owes one is heard, the others wait; what nobody asked for is the target's affair. */
#include "agent/gate/http1_inner.h"

#include <string.h>

static void pop(struct http1 *h, uint64_t now) {
    bool last = h->answer.last;
    http1_answer_begin(&h->answer);
    h->first = (uint8_t)((h->first + 1) % HTTP1_PENDING);
    h->count--;
    if (h->dest >= EXCHANGE_APP && (last || (h->last && h->count == 0)))
        http1_close(h, now);
    else if (h->count == 0)
        http1_settled(h, now);
}

/* The rest of the app's octets is one answer that ends with its connection, and the client's. */
static void till_end(struct http1 *h) {
    h->answer.in_body = true;
    h->answer.last = true;
    http1_body_until_end(&h->answer.body);
}

/* After the octets that an answer's part has; false: nothing more is to be taken. */
static bool follow(struct http1 *h, enum http1_answer_is is, uint64_t now) {
    bool target = h->dest == EXCHANGE_TARGET;
    switch (is) {
    case HTTP1_ANSWER_MORE:
    case HTTP1_ANSWER_INTERIM:
        return true;
    case HTTP1_ANSWER_SWITCHED:
        exchange_raw(h->x, h->dest, EXCHANGE_WHY_UPGRADED);
        return false;
    case HTTP1_ANSWER_HEAD:
        if (target && h->answer.last)
            exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_LAST);
        return h->x->kind == EXCHANGE_HTTP1;
    case HTTP1_ANSWER_DONE:
        pop(h, now);
        return h->x->kind == EXCHANGE_HTTP1 && h->count > 0;
    case HTTP1_ANSWER_BAD:
        if (target)
            exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_MALFORMED);
        else
            till_end(h);
        return !target;
    }
    return false;
}

static size_t answer(struct http1 *h, const uint8_t *p, size_t n, uint64_t now) {
    size_t at = 0;
    bool more = n > 0 && !exchange_full(h->x, EXCHANGE_CLIENT);
    while (more) {
        size_t taken;
        uint8_t what = h->pending[h->first];
        bool in_body = h->answer.in_body;
        enum http1_answer_is is = http1_answer_take(&h->answer, what & HTTP1_HEAD_METHOD,
                                                    what & HTTP1_CONNECT, p + at, n - at, &taken);
        if (taken > 0) {
            exchange_send(h->x, EXCHANGE_CLIENT, p + at, taken);
            http1_held_done(&h->held);
        }
        at += taken;
        more = follow(h, is, now) && (at < n || (!in_body && h->answer.in_body));
    }
    return at;
}

/* The end of an app's connection: what it answered up to here is whole, or it is lost. */
static void app_ended(struct http1 *h, unsigned party, uint64_t now) {
    bool owes = party == h->dest && h->count > 0;
    bool whole = owes && h->answer.in_body && h->answer.body.state == HTTP1_BODY_UNTIL_END;
    bool in_body = party == h->dest && h->phase == HTTP1_IN_BODY;
    if (owes && !whole) {
        http1_lost(h, now);
    } else if (owes || in_body) {
        h->count = 0;
        http1_close(h, now);
    } else {
        exchange_end(h->x, party);
        h->leg[party - EXCHANGE_APP] = HTTP1_LEG_NONE;
    }
}

static size_t from_app(struct http1 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                       uint64_t now) {
    if (h->leg[party - EXCHANGE_APP] != HTTP1_LEG_UP)
        return n;
    size_t at = 0;
    if (party == h->dest && h->count > 0)
        at = answer(h, p, n, now);
    bool done = h->x->kind != EXCHANGE_HTTP1 || h->leg[party - EXCHANGE_APP] != HTTP1_LEG_UP;
    if (done || (at < n && party == h->dest && h->count > 0))
        return at;
    if (at < n) { /* it says what nobody asked for */
        http1_drop_leg(h, party);
        if (party == h->dest && h->phase == HTTP1_IN_BODY)
            http1_close(h, now);
        return n;
    }
    if (end)
        app_ended(h, party, now);
    return at;
}

size_t http1_reply(struct http1 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now) {
    if (h->phase == HTTP1_CLOSING)
        return n;
    if (party >= EXCHANGE_APP)
        return from_app(h, party, p, n, end, now);
    if (http1_apps_turn(h)) {
        h->target_ended |= end && n == 0;
        return 0;
    }
    size_t at = h->count > 0 ? answer(h, p, n, now) : 0;
    if (h->x->kind != EXCHANGE_HTTP1)
        return at;
    if (end && at == n)
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
    else if (at < n && h->count == 0)
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_TARGET_FIRST);
    return at;
}
