/* What the sieve and its protocols share. Not for the shell. */
#pragma once

#include "agent/http/filter.h"
#include "agent/sieve.h"

struct sieve_http1;
struct sieve_http2;

enum sieve_kind { SIEVE_UNKNOWN, SIEVE_HTTP1, SIEVE_HTTP2 };

struct sieve {
    const struct sieve_ops *ops;
    void *shell;
    const struct http_filter *filter;
    uint8_t kind;              /* enum sieve_kind */
    uint8_t why;               /* enum sieve_why */
    struct sieve_http1 *http1; /* the one that `kind` says */
    struct sieve_http2 *http2;
};

struct sieve_http1 *sieve_http1_new(struct sieve *s);
void sieve_http1_free(struct sieve_http1 *h);
size_t sieve_http1_take(struct sieve_http1 *h, const uint8_t *p, size_t n, bool all);
void sieve_http1_lost(struct sieve_http1 *h);
bool sieve_http1_owes(const struct sieve_http1 *h);

struct sieve_http2 *sieve_http2_new(struct sieve *s);
void sieve_http2_free(struct sieve_http2 *h);
size_t sieve_http2_take(struct sieve_http2 *h, const uint8_t *p, size_t n, bool all);
void sieve_http2_pump(struct sieve_http2 *h);
void sieve_http2_answered(struct sieve_http2 *h, const uint8_t *p, size_t n);
void sieve_http2_lost(struct sieve_http2 *h);
bool sieve_http2_idle(const struct sieve_http2 *h);
bool sieve_http2_owes(const struct sieve_http2 *h);
