/* HTTP/2's frames (RFC 9113 4.1, 6): their head, and the few of them that are written here. Knows no connection. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
enum { HTTP2_PREFACE_N = 24, HTTP2_HEAD = 9, HTTP2_FRAME_MOST = 16384 /* what every peer takes */ };

enum http2_type {
    HTTP2_DATA,
    HTTP2_HEADERS,
    HTTP2_PRIORITY,
    HTTP2_RST_STREAM,
    HTTP2_SETTINGS,
    HTTP2_PUSH_PROMISE,
    HTTP2_PING,
    HTTP2_GOAWAY,
    HTTP2_WINDOW_UPDATE,
    HTTP2_CONTINUATION,
};

enum {
    HTTP2_END_STREAM = 1,
    HTTP2_ACK = 1,
    HTTP2_END_HEADERS = 4,
    HTTP2_PADDED = 8,
    HTTP2_HAS_PRIORITY = 32
};

enum { HTTP2_SET_TABLE = 1, HTTP2_SET_WINDOW = 4 };

enum { HTTP2_PING_N = 8 };

enum {
    HTTP2_NO_ERROR = 0,
    HTTP2_INTERNAL_ERROR = 2,
    HTTP2_FLOW_CONTROL_ERROR = 3,
    HTTP2_REFUSED_STREAM = 7,
    HTTP2_CANCEL = 8
};

struct http2_frame {
    uint32_t length;
    uint8_t type, flags;
    uint32_t stream;
};

/* p holds HTTP2_HEAD octets. */
struct http2_frame http2_frame_read(const uint8_t *p);
void http2_frame_write(uint8_t *p, const struct http2_frame *f);
uint32_t http2_u32(const uint8_t *p);
void http2_put_u32(uint8_t *p, uint32_t v);

/* Whether these octets begin with (a part of) a frame that a server begins with: SETTINGS, no ACK. */
bool http2_frame_is_settings(const uint8_t *p, size_t n);

/* One header block that lies whole in a buffer: HEADERS and its CONTINUATIONs. */
struct http2_block {
    size_t whole; /* octets of all its frames */
    uint32_t stream;
    uint8_t flags; /* of HEADERS */
    uint8_t padding;
    const uint8_t *priority; /* 5 octets, or NULL */
    size_t at, n;            /* the first fragment */
};

enum http2_block_is { HTTP2_BLOCK_MORE, HTTP2_BLOCK_WHOLE, HTTP2_BLOCK_BAD };

/* `p` begins with a frame HEADERS. */
enum http2_block_is http2_block_read(const uint8_t *p, size_t n, struct http2_block *b);
