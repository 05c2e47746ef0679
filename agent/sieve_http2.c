/* The client's frames: header blocks are decoded, all of them, since the decoder follows the client's encoder; those of streams
 * that match are given to the app's leg, and so are these streams' bodies. All other frames are between client and target. */
#include "agent/http/line.h"
#include "agent/sieve_http2_inner.h"

#include <stdlib.h>
#include <string.h>

struct sieve_http2 *sieve_http2_new(struct sieve *s) {
    struct sieve_http2 *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->s = s;
    if (nghttp2_hd_inflate_new(&h->inflater) != 0 ||
        nghttp2_hd_inflate_change_table_size(h->inflater, SIEVE_TABLE) != 0) {
        sieve_http2_free(h);
        return NULL;
    }
    return h;
}

void sieve_http2_free(struct sieve_http2 *h) {
    if (h == NULL)
        return;
    sieve_leg_free(h);
    if (h->inflater != NULL)
        nghttp2_hd_inflate_del(h->inflater);
    http2_fields_free(&h->fields);
    free(h->streams);
    free(h);
}

bool sieve_http2_idle(const struct sieve_http2 *h) {
    if (h->session == NULL)
        return true;
    return h->pending_n == 0 && h->held == 0 && !nghttp2_session_want_write(h->session) &&
           (h->streams_n == 0 || !h->spoken);
}

bool sieve_http2_owes(const struct sieve_http2 *h) {
    return h->pending_n > 0 || h->streams_n > 0;
}

/* --- header blocks ----------------------------------------------------------------------------------------------- */

static bool matches(struct sieve_http2 *h) {
    struct http_filter_match m = {0};
    char line[HTTP_LINE];
    size_t method_n, path_n;
    const char *method = http2_fields_find(&h->fields, ":method", &method_n);
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    method = method != NULL ? method : "";
    path = path != NULL ? path : "";
    http_filter_line(h->s->filter, &m, method, method_n, path, path_n);
    for (size_t i = 0; i < h->fields.count; i++) {
        struct http2_header header;
        if (http2_fields_header(&h->fields, i, &header))
            http_filter_header(h->s->filter, &m, header.name, header.name_n, header.value,
                               header.value_n);
    }
    bool yes = http_filter_verdict(h->s->filter, &m, true) == HTTP_FILTER_YES;
    h->s->ops->seen(h->s->shell, yes, line, http_line_made(line, method, method_n, path, path_n));
    return yes;
}

/* Taken whole: octets of all its frames; 0: it waits, or has been given up. */
static size_t block(struct sieve_http2 *h, const uint8_t *p, size_t n, bool all) {
    struct http2_block b;
    switch (http2_block_read(p, n, &b)) {
    case HTTP2_BLOCK_MORE:
        if (all || n >= SIEVE_HEAD)
            h->s->why = SIEVE_LONG;
        return 0;
    case HTTP2_BLOCK_BAD:
        h->s->why = SIEVE_MALFORMED;
        return 0;
    case HTTP2_BLOCK_WHOLE:
        break;
    }
    if (!http2_fields_inflate(&h->fields, h->inflater, p, &b)) {
        h->s->why = SIEVE_MALFORMED;
        return 0;
    }
    bool ended = b.flags & HTTP2_END_STREAM;
    struct sieve_stream *t = sieve_stream_find(h, b.stream);
    if (t != NULL)
        sieve_leg_end(h, t, true);
    else if (b.stream > h->last && b.stream % 2 == 1 && matches(h))
        sieve_leg_open(h, b.stream, ended);
    h->last = b.stream > h->last ? b.stream : h->last;
    return b.whole;
}

/* --- other frames ------------------------------------------------------------------------------------------------ */

static void body_begin(struct sieve_http2 *h, const struct http2_frame *f) {
    h->keeps = sieve_stream_find(h, f->stream) != NULL;
    h->stream = f->stream;
    h->padded = f->flags & HTTP2_PADDED;
    h->padding = 0;
    h->ends = f->flags & HTTP2_END_STREAM;
}

static void body_end(struct sieve_http2 *h) {
    struct sieve_stream *t = h->keeps ? sieve_stream_find(h, h->stream) : NULL;
    if (t != NULL && h->ends)
        sieve_leg_end(h, t, false);
    h->keeps = false;
}

/* n octets of the payload, of which `left` were still to come. The last ones may be padding. */
static void body(struct sieve_http2 *h, const uint8_t *p, size_t n) {
    struct sieve_stream *t = sieve_stream_find(h, h->stream);
    size_t left = h->left;
    if (h->padded) {
        h->padding = *p;
        h->padded = false;
        p++;
        n--;
        left--;
    }
    size_t real = left > h->padding ? left - h->padding : 0;
    real = real < n ? real : n;
    if (t != NULL && real > 0 && !sieve_leg_body(h, t, p, real))
        h->s->why = SIEVE_NO_MEMORY;
}

/* A frame's head lies at p; what is taken of it and behind. */
static size_t frame(struct sieve_http2 *h, const uint8_t *p, size_t n, bool all) {
    struct http2_frame f = http2_frame_read(p);
    if (f.type == HTTP2_HEADERS)
        return block(h, p, n, all);
    if (f.type == HTTP2_CONTINUATION || f.type == HTTP2_PUSH_PROMISE) {
        h->s->why = SIEVE_MALFORMED;
        return 0;
    }
    if (f.type == HTTP2_RST_STREAM && f.length == 4) {
        if (n < HTTP2_HEAD + 4)
            return 0;
        struct sieve_stream *t = sieve_stream_find(h, f.stream);
        if (t != NULL)
            sieve_leg_cancel(h, t, http2_u32(p + HTTP2_HEAD));
    }
    h->keeps = false;
    if (f.type == HTTP2_DATA) {
        body_begin(h, &f);
        if (f.length == 0)
            body_end(h);
    }
    h->left = f.length;
    return HTTP2_HEAD;
}

static size_t payload(struct sieve_http2 *h, const uint8_t *p, size_t n) {
    if (n > h->left)
        n = h->left;
    if (n == 0 || (h->keeps && h->held >= SIEVE_HELD))
        return 0;
    if (h->keeps)
        body(h, p, n);
    h->left -= (uint32_t)n;
    if (h->left == 0)
        body_end(h);
    return n;
}

size_t sieve_http2_take(struct sieve_http2 *h, const uint8_t *p, size_t n, bool all) {
    size_t at = 0, part = 1;
    while (part > 0 && h->s->why == SIEVE_GOES_ON) {
        if (!h->preface)
            part = HTTP2_PREFACE_N; /* sieve.c has seen it */
        else if (h->left > 0)
            part = payload(h, p + at, n - at);
        else
            part = n - at >= HTTP2_HEAD ? frame(h, p + at, n - at, all) : 0;
        h->preface = true;
        at += part;
    }
    sieve_http2_pump(h);
    return h->s->why == SIEVE_GOES_ON ? at : n;
}
