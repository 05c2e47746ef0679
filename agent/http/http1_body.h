/* Where a body of HTTP/1 ends: by its length, by its chunks (RFC 9112 7.1), with the connection, or at once. Takes octets,
 * keeps none. Both directions use it; of an answer's chunks a bare LF is let pass as a line's end, of a request's it is not. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http1_body_state {
    HTTP1_BODY_DONE,
    HTTP1_BODY_LENGTH,
    HTTP1_BODY_UNTIL_END,
    HTTP1_BODY_SIZE, /* of a chunk: digits */
    HTTP1_BODY_EXTENSION,
    HTTP1_BODY_SIZE_LF,
    HTTP1_BODY_CHUNK,
    HTTP1_BODY_CHUNK_CR,
    HTTP1_BODY_CHUNK_LF,
    HTTP1_BODY_TRAILER, /* at a line's first octet */
    HTTP1_BODY_TRAILER_LINE,
    HTTP1_BODY_TRAILER_LF,
    HTTP1_BODY_END_LF,
    HTTP1_BODY_BAD, /* chunks that can be read in two ways */
};

struct http1_body {
    uint8_t state; /* enum http1_body_state */
    bool lenient;
    uint16_t digits;
    uint32_t beside; /* octets of extensions and trailers so far */
    uint64_t left;
};

void http1_body_none(struct http1_body *b);
void http1_body_length(struct http1_body *b, uint64_t n);
void http1_body_chunked(struct http1_body *b, bool lenient);
void http1_body_until_end(struct http1_body *b);

/* How many of these octets are the body's. All n, unless it is DONE or BAD before. */
size_t http1_body_take(struct http1_body *b, const uint8_t *p, size_t n);
