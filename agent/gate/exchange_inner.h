/* What the exchange and its protocols share: who is spoken to, and how a request finds its rule. Not for the shell. */
#pragma once

#include "agent/gate/exchange.h"
#include "agent/http/filter.h"

struct http1;
struct http2;

enum exchange_kind {
    EXCHANGE_UNKNOWN,
    EXCHANGE_HTTP1,
    EXCHANGE_HTTP2,
    EXCHANGE_RAW,
    EXCHANGE_OVER
};

/* What is offered at the moment, and the part of it that goes to one party and has not been sent: see exchange_out.c. */
struct exchange_row {
    const uint8_t *offered, *from;
    size_t offered_n, n;
    unsigned party;
};

struct exchange {
    const struct exchange_ops *ops;
    void *shell;
    const struct exchange_rules *rules;
    uint8_t kind; /* enum exchange_kind */
    bool draining;
    struct exchange_row row;
    struct http1 *http1; /* the one that `kind` says; both are freed with the exchange */
    struct http2 *http2;
};

/* One request against every rule that takes, the oldest session's first. */
struct exchange_judge {
    struct http_filter_match match[EXCHANGE_APPS];
};

void exchange_judge_line(const struct exchange *x, struct exchange_judge *j, const char *method,
                         size_t method_n, const char *target, size_t target_n);
void exchange_judge_header(const struct exchange *x, struct exchange_judge *j, const char *name,
                           size_t name_n, const char *value, size_t value_n);
#define EXCHANGE_TARGETS  (-1) /* no rule takes it */
#define EXCHANGE_UNJUDGED (-2) /* a header that is still to come may decide */
/* The slot that takes it, or one of the above (the latter only if not `complete`). */
int exchange_judge_slot(const struct exchange *x, const struct exchange_judge *j, bool complete);

/* Tells `seen`; the text is cut, and its control characters are replaced. */
void exchange_seen(struct exchange *x, int slot, const char *line, size_t n);

/* Around an offer: octets of it that lie in a row leave by one send. */
void exchange_row_begin(struct exchange *x, const uint8_t *p, size_t n);
void exchange_row_end(struct exchange *x);
/* The ops, in order with what is sent. */
void exchange_send(struct exchange *x, unsigned party, const void *octets, size_t n);
void exchange_end(struct exchange *x, unsigned party);
void exchange_ask(struct exchange *x, unsigned party);
void exchange_cut(struct exchange *x, unsigned party);
void exchange_raw(struct exchange *x, unsigned party, enum exchange_why why);
void exchange_cut_all(struct exchange *x); /* cut(EXCHANGE_CLIENT), which is the end */
bool exchange_full(const struct exchange *x, unsigned party);
