/* Which protocol a connection speaks, by its first octets, and the way to what knows it. */
#include "agent/http/http2_frame.h"
#include "agent/sieve_inner.h"

#include <stdlib.h>
#include <string.h>

#define TLS_HANDSHAKE 0x16 /* RFC 8446 5.1 */

struct sieve *sieve_new(const struct sieve_ops *ops, void *shell,
                        const struct http_filter *filter) {
    struct sieve *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->ops = ops;
    s->shell = shell;
    s->filter = filter;
    return s;
}

void sieve_free(struct sieve *s) {
    if (s == NULL)
        return;
    sieve_http1_free(s->http1);
    sieve_http2_free(s->http2);
    free(s);
}

static void begin(struct sieve *s, enum sieve_kind kind) {
    s->kind = (uint8_t)kind;
    if (kind == SIEVE_HTTP1)
        s->http1 = sieve_http1_new(s);
    else
        s->http2 = sieve_http2_new(s);
    if (s->http1 == NULL && s->http2 == NULL)
        s->why = SIEVE_NO_MEMORY;
}

static void recognise(struct sieve *s, const uint8_t *p, size_t n) {
    size_t have = n < HTTP2_PREFACE_N ? n : HTTP2_PREFACE_N;
    if (n == 0)
        return;
    if (p[0] == TLS_HANDSHAKE)
        s->why = SIEVE_TLS;
    else if (memcmp(p, HTTP2_PREFACE, have) != 0)
        begin(s, SIEVE_HTTP1);
    else if (have == HTTP2_PREFACE_N)
        begin(s, SIEVE_HTTP2);
}

size_t sieve_take(struct sieve *s, const uint8_t *p, size_t n, bool all) {
    if (s->kind == SIEVE_UNKNOWN)
        recognise(s, p, n);
    if (s->why != SIEVE_GOES_ON)
        return n;
    if (s->kind == SIEVE_HTTP1)
        return sieve_http1_take(s->http1, p, n, all);
    return s->kind == SIEVE_HTTP2 ? sieve_http2_take(s->http2, p, n, all) : 0;
}

void sieve_pump(struct sieve *s) {
    if (s->http2 != NULL)
        sieve_http2_pump(s->http2);
}

void sieve_answered(struct sieve *s, const uint8_t *p, size_t n) {
    if (s->http2 != NULL)
        sieve_http2_answered(s->http2, p, n);
}

void sieve_lost(struct sieve *s) {
    if (s->http1 != NULL)
        sieve_http1_lost(s->http1);
    if (s->http2 != NULL)
        sieve_http2_lost(s->http2);
}

enum sieve_why sieve_over(const struct sieve *s) {
    return (enum sieve_why)s->why;
}

bool sieve_owes(const struct sieve *s) {
    if (s->http1 != NULL)
        return sieve_http1_owes(s->http1);
    return s->http2 != NULL && sieve_http2_owes(s->http2);
}

bool sieve_idle(const struct sieve *s) {
    return s->http2 == NULL || sieve_http2_idle(s->http2);
}
