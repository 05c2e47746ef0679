/* One octet, one step, but for what is counted: a table of chunked's states would hide that most have one way out. */
#include "agent/http/http1_body.h"
#include "agent/http/http1_head.h"

#include <string.h>

#define BESIDE 65536 /* octets of extensions and trailers in one body: no server takes more */
#define DIGITS 15    /* of a chunk's size: 2^60 octets are never sent, and 16 overflow somewhere */

void http1_body_none(struct http1_body *b) {
    memset(b, 0, sizeof *b);
}

void http1_body_length(struct http1_body *b, uint64_t n) {
    *b = (struct http1_body){.state = n > 0 ? HTTP1_BODY_LENGTH : HTTP1_BODY_DONE, .left = n};
}

void http1_body_chunked(struct http1_body *b, bool lenient) {
    *b = (struct http1_body){.state = HTTP1_BODY_SIZE, .lenient = lenient};
}

void http1_body_until_end(struct http1_body *b) {
    *b = (struct http1_body){.state = HTTP1_BODY_UNTIL_END};
}

static int hex(uint8_t c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* At a line's end, of which `c` may be the first or the only octet: the state behind it, or BAD. */
static uint8_t line_end(const struct http1_body *b, uint8_t c, uint8_t lf, uint8_t behind) {
    if (c == '\r')
        return lf;
    return c == '\n' && b->lenient ? behind : HTTP1_BODY_BAD;
}

static uint8_t after_size(const struct http1_body *b) {
    return b->left > 0 ? HTTP1_BODY_CHUNK : HTTP1_BODY_TRAILER;
}

static uint8_t size_octet(struct http1_body *b, uint8_t c) {
    int v = hex(c);
    if (v >= 0) {
        b->left = b->digits == 0 ? (uint64_t)v : b->left << 4 | (uint64_t)v;
        return ++b->digits <= DIGITS ? HTTP1_BODY_SIZE : HTTP1_BODY_BAD;
    }
    if (b->digits == 0)
        return HTTP1_BODY_BAD;
    b->digits = 0;
    if (c == ';' || (b->lenient && c == ' '))
        return HTTP1_BODY_EXTENSION;
    return line_end(b, c, HTTP1_BODY_SIZE_LF, after_size(b));
}

/* In a line whose content does not matter. */
static uint8_t beside(struct http1_body *b, uint8_t c, uint8_t lf, uint8_t behind) {
    if (++b->beside > BESIDE)
        return HTTP1_BODY_BAD;
    return http1_is_text(c) ? b->state : line_end(b, c, lf, behind);
}

static uint8_t trailer_octet(struct http1_body *b, uint8_t c) {
    if (!http1_is_token(c))
        return line_end(b, c, HTTP1_BODY_END_LF, HTTP1_BODY_DONE);
    return HTTP1_BODY_TRAILER_LINE;
}

static uint8_t step(struct http1_body *b, uint8_t c) {
    switch (b->state) {
    case HTTP1_BODY_SIZE:
        return size_octet(b, c);
    case HTTP1_BODY_EXTENSION:
        return beside(b, c, HTTP1_BODY_SIZE_LF, after_size(b));
    case HTTP1_BODY_SIZE_LF:
        return c == '\n' ? after_size(b) : HTTP1_BODY_BAD;
    case HTTP1_BODY_CHUNK_CR:
        return line_end(b, c, HTTP1_BODY_CHUNK_LF, HTTP1_BODY_SIZE);
    case HTTP1_BODY_CHUNK_LF:
        return c == '\n' ? HTTP1_BODY_SIZE : HTTP1_BODY_BAD;
    case HTTP1_BODY_TRAILER:
        return trailer_octet(b, c);
    case HTTP1_BODY_TRAILER_LINE:
        return beside(b, c, HTTP1_BODY_TRAILER_LF, HTTP1_BODY_TRAILER);
    case HTTP1_BODY_TRAILER_LF:
        return c == '\n' ? HTTP1_BODY_TRAILER : HTTP1_BODY_BAD;
    case HTTP1_BODY_END_LF:
        return c == '\n' ? HTTP1_BODY_DONE : HTTP1_BODY_BAD;
    default:
        return HTTP1_BODY_BAD;
    }
}

/* Octets that are only counted. */
static size_t count(struct http1_body *b, size_t n) {
    if (n < b->left) {
        b->left -= n;
        return n;
    }
    n = (size_t)b->left;
    b->left = 0;
    b->state = b->state == HTTP1_BODY_LENGTH ? HTTP1_BODY_DONE : HTTP1_BODY_CHUNK_CR;
    return n;
}

size_t http1_body_take(struct http1_body *b, const uint8_t *p, size_t n) {
    size_t at = 0;
    if (b->state == HTTP1_BODY_UNTIL_END)
        return n;
    while (at < n && b->state != HTTP1_BODY_DONE && b->state != HTTP1_BODY_BAD) {
        if (b->state == HTTP1_BODY_LENGTH || b->state == HTTP1_BODY_CHUNK) {
            at += count(b, n - at);
            continue;
        }
        b->state = step(b, p[at]);
        at += b->state != HTTP1_BODY_BAD;
    }
    return at;
}
