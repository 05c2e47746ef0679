/* Which protocol a connection speaks, by its first octets, and the way to what knows it; and which rule takes a request. */
#include "agent/gate/exchange_inner.h"
#include "agent/gate/http1.h"
#include "agent/gate/http2.h"
#include "agent/http/line.h"
#include "agent/http/http2_frame.h"

#include <stdlib.h>
#include <string.h>

#define TLS_HANDSHAKE 0x16 /* RFC 8446 5.1 */

struct exchange *exchange_new(const struct exchange_ops *ops, void *shell,
                              const struct exchange_rules *rules) {
    struct exchange *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->ops = ops;
    x->shell = shell;
    x->rules = rules;
    return x;
}

void exchange_free(struct exchange *x) {
    if (x == NULL)
        return;
    http1_free(x->http1);
    http2_free(x->http2);
    free(x);
}

/* --- for the protocols ----------------------------------------------------------------------------------------------- */

static bool takes(const struct exchange *x, unsigned slot) {
    return !x->draining && x->rules->slot[slot].filter != NULL && x->rules->slot[slot].takes;
}

void exchange_judge_line(const struct exchange *x, struct exchange_judge *j, const char *method,
                         size_t method_n, const char *target, size_t target_n) {
    for (unsigned i = 0; i < x->rules->count; i++) {
        unsigned k = x->rules->order[i];
        j->match[k].held = 0;
        if (takes(x, k))
            http_filter_line(x->rules->slot[k].filter, &j->match[k], method, method_n, target,
                             target_n);
    }
}

void exchange_judge_header(const struct exchange *x, struct exchange_judge *j, const char *name,
                           size_t name_n, const char *value, size_t value_n) {
    for (unsigned i = 0; i < x->rules->count; i++) {
        unsigned k = x->rules->order[i];
        if (takes(x, k))
            http_filter_header(x->rules->slot[k].filter, &j->match[k], name, name_n, value,
                               value_n);
    }
}

int exchange_judge_slot(const struct exchange *x, const struct exchange_judge *j, bool complete) {
    int slot = EXCHANGE_TARGETS;
    for (unsigned i = 0; i < x->rules->count && slot == EXCHANGE_TARGETS; i++) {
        unsigned k = x->rules->order[i];
        if (!takes(x, k))
            continue;
        switch (http_filter_verdict(x->rules->slot[k].filter, &j->match[k], complete)) {
        case HTTP_FILTER_YES:
            slot = complete ? (int)k : EXCHANGE_UNJUDGED;
            break;
        case HTTP_FILTER_OPEN:
            slot = EXCHANGE_UNJUDGED;
            break;
        case HTTP_FILTER_NO:
            break;
        }
    }
    return slot;
}

void exchange_seen(struct exchange *x, int slot, const char *line, size_t n) {
    char clean[HTTP_LINE];
    x->ops->seen(x->shell, slot, clean, http_line_clean(clean, line, n));
}

/* --- the first octets ------------------------------------------------------------------------------------------------ */

static bool begin(struct exchange *x, enum exchange_kind kind) {
    if (kind == EXCHANGE_HTTP1)
        x->http1 = http1_new(x);
    else
        x->http2 = http2_new(x);
    bool made = x->http1 != NULL || x->http2 != NULL;
    x->kind = kind;
    if (!made)
        exchange_raw(x, EXCHANGE_TARGET, EXCHANGE_WHY_NOT_HTTP); /* no memory: the target's */
    return made;
}

/* A server of HTTP/2 may send its settings before it has heard anything; whoever else speaks first is no HTTP. */
static bool target_first(struct exchange *x, const uint8_t *p, size_t n, bool end) {
    bool settings = n > 0 && http2_frame_is_settings(p, n);
    if (settings && n >= HTTP2_HEAD)
        return begin(x, EXCHANGE_HTTP2);
    if ((n > 0 && !settings) || end)
        exchange_raw(x, EXCHANGE_TARGET, n > 0 ? EXCHANGE_WHY_TARGET_FIRST : EXCHANGE_WHY_ENDED);
    return false;
}

/* Whether it is settled what the connection speaks. */
static bool recognise(struct exchange *x, unsigned party, const uint8_t *p, size_t n, bool end) {
    if (party != EXCHANGE_CLIENT)
        return target_first(x, p, n, end);
    size_t have = n < HTTP2_PREFACE_N ? n : HTTP2_PREFACE_N;
    bool http2 = n > 0 && memcmp(p, HTTP2_PREFACE, have) == 0;
    if (http2 && have == HTTP2_PREFACE_N)
        return begin(x, EXCHANGE_HTTP2);
    if (n == 0 || http2) {
        if (end)
            exchange_raw(x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
        return false;
    }
    if (p[0] == TLS_HANDSHAKE) {
        exchange_raw(x, EXCHANGE_TARGET, EXCHANGE_WHY_TLS);
        return false;
    }
    return begin(x, EXCHANGE_HTTP1);
}

/* --- the shell's calls ----------------------------------------------------------------------------------------------- */

static size_t offer(struct exchange *x, unsigned party, const void *p, size_t n, bool end,
                    uint64_t now) {
    if (x->kind == EXCHANGE_UNKNOWN && !recognise(x, party, p, n, end))
        return 0;
    if (x->kind == EXCHANGE_HTTP1)
        return http1_offer(x->http1, party, p, n, end, now);
    if (x->kind == EXCHANGE_HTTP2)
        return http2_offer(x->http2, party, p, n, end, now);
    return 0;
}

size_t exchange_offer(struct exchange *x, unsigned party, const void *p, size_t n, bool end,
                      uint64_t now) {
    exchange_row_begin(x, p, n);
    size_t taken = offer(x, party, p, n, end, now);
    exchange_row_end(x);
    return taken;
}

void exchange_room(struct exchange *x, unsigned party, uint64_t now) {
    (void)party, (void)now;
    if (x->kind == EXCHANGE_HTTP2) /* HTTP/1 holds nothing itself */
        http2_room(x->http2);
}

void exchange_reset(struct exchange *x, unsigned party, uint64_t now) {
    if (x->kind == EXCHANGE_UNKNOWN)
        exchange_cut_all(x); /* the target's: no app was asked for yet */
    else if (x->kind == EXCHANGE_HTTP1)
        http1_reset(x->http1, party, now);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_reset(x->http2, party);
}

void exchange_accepted(struct exchange *x, unsigned party, uint64_t now) {
    (void)now;
    if (x->kind == EXCHANGE_HTTP1)
        http1_accepted(x->http1, party);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_accepted(x->http2, party);
}

void exchange_refused(struct exchange *x, unsigned party, uint64_t now) {
    (void)now;
    if (x->kind == EXCHANGE_HTTP1)
        http1_refused(x->http1, party);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_refused(x->http2, party);
}

void exchange_link(struct exchange *x, unsigned slot, bool up, uint64_t now) {
    if (x->kind == EXCHANGE_HTTP1)
        http1_link(x->http1, slot, up, now);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_link(x->http2, slot, up, now);
}

void exchange_gone(struct exchange *x, unsigned slot, uint64_t now) {
    if (x->kind == EXCHANGE_HTTP1)
        http1_gone(x->http1, slot, now);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_gone(x->http2, slot);
}

void exchange_drain(struct exchange *x, uint64_t now) {
    x->draining = true;
    if (x->kind == EXCHANGE_UNKNOWN)
        exchange_raw(x, EXCHANGE_TARGET, EXCHANGE_WHY_DRAINED);
    else if (x->kind == EXCHANGE_HTTP1)
        http1_drain(x->http1, now);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_drain(x->http2);
}

uint64_t exchange_deadline(const struct exchange *x) {
    if (x->kind == EXCHANGE_HTTP1)
        return http1_deadline(x->http1);
    return x->kind == EXCHANGE_HTTP2 ? http2_deadline(x->http2) : EXCHANGE_NEVER;
}

void exchange_tick(struct exchange *x, uint64_t now) {
    if (x->kind == EXCHANGE_HTTP1)
        http1_tick(x->http1, now);
    else if (x->kind == EXCHANGE_HTTP2)
        http2_tick(x->http2, now);
}

bool exchange_over(const struct exchange *x) {
    return x->kind == EXCHANGE_OVER;
}
