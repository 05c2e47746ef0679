/* Nine octets, and what must lie behind them. */
#include "agent/http/http2_frame.h"

uint32_t http2_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void http2_put_u32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

struct http2_frame http2_frame_read(const uint8_t *p) {
    return (struct http2_frame){
        .length = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2],
        .type = p[3],
        .flags = p[4],
        .stream = http2_u32(p + 5) & 0x7fffffff,
    };
}

void http2_frame_write(uint8_t *p, const struct http2_frame *f) {
    http2_put_u32(p, f->length << 8 | f->type);
    p[4] = f->flags;
    http2_put_u32(p + 5, f->stream);
}

bool http2_frame_is_settings(const uint8_t *p, size_t n) {
    if ((n > 0 && p[0] != 0) || (n > 1 && p[1] > 1) || (n > 2 && (p[1] << 8 | p[2]) % 6 != 0))
        return false;
    if ((n > 3 && p[3] != HTTP2_SETTINGS) || (n > 4 && p[4] != 0))
        return false;
    for (size_t i = 5; i < n && i < HTTP2_HEAD; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* HEADERS' own fields, before and behind the fragment (RFC 9113 6.2). */
static bool headers(const uint8_t *p, const struct http2_frame *f, struct http2_block *b) {
    size_t before = 0;
    b->padding = 0;
    b->priority = NULL;
    if (f->flags & HTTP2_PADDED) {
        if (f->length < 1)
            return false;
        b->padding = p[HTTP2_HEAD];
        before = 1;
    }
    if (f->flags & HTTP2_HAS_PRIORITY) {
        b->priority = p + HTTP2_HEAD + before;
        before += 5;
    }
    if (before + b->padding > f->length)
        return false;
    b->at = HTTP2_HEAD + before;
    b->n = f->length - before - b->padding;
    return true;
}

enum http2_block_is http2_block_read(const uint8_t *p, size_t n, struct http2_block *b) {
    struct http2_frame f = http2_frame_read(p);
    if (n < HTTP2_HEAD + (size_t)f.length)
        return HTTP2_BLOCK_MORE;
    b->stream = f.stream;
    b->flags = f.flags;
    if (!headers(p, &f, b))
        return HTTP2_BLOCK_BAD;
    size_t at = HTTP2_HEAD + f.length;
    while (!(f.flags & HTTP2_END_HEADERS)) {
        if (n - at < HTTP2_HEAD)
            return HTTP2_BLOCK_MORE;
        f = http2_frame_read(p + at);
        if (f.type != HTTP2_CONTINUATION || f.stream != b->stream)
            return HTTP2_BLOCK_BAD;
        if (n - at < HTTP2_HEAD + (size_t)f.length)
            return HTTP2_BLOCK_MORE;
        at += HTTP2_HEAD + f.length;
    }
    b->whole = at;
    return HTTP2_BLOCK_WHOLE;
}
