/* The client's side: heads are judged, routed and forwarded, bodies follow. Each turn takes a part of what is offered. */
#include "agent/gate/http1_inner.h"

#include <string.h>

/* One turn's outcome; octets of a head that waits are left where they are. */
enum turn { TURN_AGAIN, TURN_WAIT, TURN_OVER };

static void send(struct http1 *h, const uint8_t *p, size_t n) {
    if (h->dest >= EXCHANGE_APP)
        http1_held_add(&h->held, p, n);
    if (n > 0)
        exchange_send(h->x, h->dest, p, n);
}

static void next_request(struct http1 *h) {
    memset(&h->head, 0, sizeof h->head);
    memset(&h->judge, 0, sizeof h->judge);
    h->phase = HTTP1_IN_HEAD;
}

/* The head is whole and has been sent. */
static void begin_body(struct http1 *h) {
    if (h->head.chunked)
        http1_body_chunked(&h->body, false);
    else
        http1_body_length(&h->body, h->head.sized ? h->head.size : 0);
    h->phase = HTTP1_IN_BODY;
}

static bool says_last(const struct http1_head *head) {
    return head->close || (head->minor == 0 && !head->keep_alive);
}

static void end_request(struct http1 *h, uint64_t now) {
    bool last = h->dest >= EXCHANGE_APP && says_last(&h->head);
    bool awaits = h->head.upgrade || h->head.connect || last;
    h->last |= last;
    next_request(h);
    if (last && h->count == 0)
        http1_close(h, now); /* it was answered before it was whole */
    else if (awaits && h->count > 0)
        h->phase = HTTP1_AWAITS;
    else if (h->target_ended && h->count == 0)
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
}

static void judge_header(struct http1 *h, const uint8_t *p) {
    const struct http1_head *head = &h->head;
    exchange_judge_header(h->x, &h->judge, (const char *)p + head->name_at, head->name_n,
                          (const char *)p + head->value_at, head->value_n);
}

static void route(struct http1 *h, int slot) {
    h->next = (uint8_t)(slot < 0 ? EXCHANGE_TARGET : EXCHANGE_APP + slot);
    h->phase = HTTP1_ROUTED;
}

static enum turn give_up(struct http1 *h, enum exchange_why why) {
    http1_give_up(h, why);
    return h->x->kind == EXCHANGE_RAW ? TURN_OVER : TURN_WAIT;
}

static enum turn in_head(struct http1 *h, const uint8_t *p, size_t n, bool end) {
    const struct http1_head *head = &h->head;
    if (h->generation != h->x->rules->generation) {
        h->generation = h->x->rules->generation;
        next_request(h); /* of this head nothing was taken yet */
    }
    for (;;) {
        switch (http1_head_step(&h->head, p, n)) {
        case HTTP1_HEAD_LINE:
            exchange_judge_line(h->x, &h->judge, (const char *)p, head->method_n,
                                (const char *)p + head->target_at, head->target_n);
            if (exchange_judge_slot(h->x, &h->judge, false) != EXCHANGE_TARGETS)
                continue;
            route(h, EXCHANGE_TARGETS);
            return TURN_AGAIN;
        case HTTP1_HEAD_HEADER:
            judge_header(h, p);
            continue;
        case HTTP1_HEAD_DONE:
            route(h, exchange_judge_slot(h->x, &h->judge, true));
            return TURN_AGAIN;
        case HTTP1_HEAD_BAD:
            return give_up(h, h->any ? EXCHANGE_WHY_MALFORMED : EXCHANGE_WHY_NOT_HTTP);
        case HTTP1_HEAD_MORE:
            if (n >= EXCHANGE_HEAD)
                return give_up(h, EXCHANGE_WHY_LONG);
            return end ? give_up(h, EXCHANGE_WHY_ENDED) : TURN_WAIT;
        }
    }
}

/* Whether the request's party can have it now. Asks an app that has no leg yet. */
static bool may_have(struct http1 *h) {
    if (h->count > 0 && (h->dest != h->next || h->count == HTTP1_PENDING))
        return false;
    if (h->next < EXCHANGE_APP)
        return !exchange_full(h->x, h->next);
    uint8_t *leg = &h->leg[h->next - EXCHANGE_APP];
    if (*leg == HTTP1_LEG_NONE) {
        *leg = HTTP1_LEG_ASKED;
        exchange_ask(h->x, h->next);
    }
    return *leg == HTTP1_LEG_UP && !exchange_full(h->x, h->next);
}

static void owe(struct http1 *h) {
    uint8_t what = h->head.connect ? HTTP1_CONNECT : h->head.head ? HTTP1_HEAD_METHOD : 0;
    if (h->count == 0)
        http1_answer_begin(&h->answer);
    h->pending[(h->first + h->count++) % HTTP1_PENDING] = what;
}

/* The request line, and whole lines behind it, lie at p. */
static enum turn routed(struct http1 *h, const uint8_t *p, size_t *taken) {
    if (!may_have(h))
        return TURN_WAIT;
    bool whole = h->head.length > 0;
    int slot = h->next < EXCHANGE_APP ? -1 : h->next - EXCHANGE_APP;
    size_t line = (size_t)h->head.target_at + h->head.target_n + 9;
    exchange_seen(h->x, slot, (const char *)p, line);
    h->any = true;
    h->dest = h->next;
    if (h->dest == EXCHANGE_TARGET && whole && says_last(&h->head)) {
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_LAST);
        return TURN_OVER;
    }
    owe(h);
    if (h->count > 1)
        http1_held_done(&h->held);
    else if (h->dest >= EXCHANGE_APP)
        http1_held_begin(&h->held, p, h->head.method_n);
    *taken = whole ? h->head.length : h->head.line;
    send(h, p, *taken);
    if (whole) {
        begin_body(h);
        return TURN_AGAIN;
    }
    http1_head_taken(&h->head, *taken);
    h->phase = HTTP1_STREAMED;
    return TURN_AGAIN;
}

/* A head that is the target's, line by line. */
static enum turn streamed(struct http1 *h, const uint8_t *p, size_t n, bool end, size_t *taken) {
    for (;;) {
        enum http1_head_is is = http1_head_step(&h->head, p, n);
        if (is == HTTP1_HEAD_HEADER)
            continue;
        if (is == HTTP1_HEAD_DONE || is == HTTP1_HEAD_MORE) {
            *taken = h->head.line;
            send(h, p, *taken);
            http1_head_taken(&h->head, *taken);
        }
        if (is == HTTP1_HEAD_DONE && !says_last(&h->head)) {
            begin_body(h);
            return TURN_AGAIN;
        }
        if (is == HTTP1_HEAD_MORE && n - *taken < EXCHANGE_HEAD && !end)
            return TURN_WAIT;
        return give_up(h, is == HTTP1_HEAD_BAD    ? EXCHANGE_WHY_MALFORMED
                          : is == HTTP1_HEAD_DONE ? EXCHANGE_WHY_LAST
                          : end                   ? EXCHANGE_WHY_ENDED
                                                  : EXCHANGE_WHY_LONG);
    }
}

/* The app's octets that cannot be delimited: it may judge them, and nobody gets what follows. */
static enum turn bad_body(struct http1 *h, const uint8_t *p, size_t n, uint64_t now) {
    send(h, p, n);
    h->last = true;
    h->phase = HTTP1_AWAITS;
    if (h->count == 0)
        http1_close(h, now);
    return TURN_WAIT;
}

static enum turn in_body(struct http1 *h, const uint8_t *p, size_t n, uint64_t now, size_t *taken) {
    if (n > 0 && h->body.state != HTTP1_BODY_DONE) {
        if (exchange_full(h->x, h->dest))
            return TURN_WAIT;
        *taken = http1_body_take(&h->body, p, n);
        send(h, p, *taken);
    }
    if (h->body.state == HTTP1_BODY_DONE) {
        end_request(h, now);
        return h->x->kind == EXCHANGE_HTTP1 ? TURN_AGAIN : TURN_OVER;
    }
    if (h->body.state != HTTP1_BODY_BAD)
        return TURN_WAIT;
    if (h->dest == EXCHANGE_TARGET)
        return give_up(h, EXCHANGE_WHY_MALFORMED);
    size_t rest = n - *taken;
    p += *taken;
    *taken = n;
    return bad_body(h, p, rest, now);
}

/* All that there was has been taken, and the client's end follows. */
static void ended(struct http1 *h, uint64_t now) {
    if (h->phase == HTTP1_CLOSING) {
        h->x->kind = EXCHANGE_OVER;
    } else if (!http1_app_owes(h)) {
        if (h->phase == HTTP1_IN_BODY && h->dest >= EXCHANGE_APP)
            http1_close(h, now);
        else
            http1_give_up(h, EXCHANGE_WHY_ENDED);
    } else if (!h->client_ended) {
        h->client_ended = true;
        exchange_end(h->x, h->dest);
    }
}

size_t http1_request(struct http1 *h, const uint8_t *p, size_t n, bool end, uint64_t now) {
    size_t at = 0;
    enum turn turn = TURN_AGAIN;
    while (turn == TURN_AGAIN && (at < n || h->phase == HTTP1_IN_BODY)) {
        size_t taken = 0;
        switch (h->phase) {
        case HTTP1_IN_HEAD:
            turn = in_head(h, p + at, n - at, end);
            break;
        case HTTP1_ROUTED:
            turn = routed(h, p + at, &taken);
            break;
        case HTTP1_STREAMED:
            turn = streamed(h, p + at, n - at, end, &taken);
            break;
        case HTTP1_IN_BODY:
            turn = in_body(h, p + at, n - at, now, &taken);
            break;
        case HTTP1_CLOSING:
            taken = n - at;
            turn = TURN_WAIT;
            break;
        default:
            turn = TURN_WAIT;
        }
        at += taken;
    }
    if (end && at == n && h->x->kind == EXCHANGE_HTTP1)
        ended(h, now);
    return at;
}
