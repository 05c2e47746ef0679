/* Where the gate thinks that an HTTP/1 request ends, for a test that asks other parsers the same. */
#include "agent/http/http1_body.h"
#include "agent/http/http1_head.h"

#include <string.h>

/* How many octets are the first request; 0: not whole, -1: none that the gate delimits, -2: what follows may be no HTTP. */
long delimit(const uint8_t *p, size_t n);

long delimit(const uint8_t *p, size_t n) {
    struct http1_head h;
    enum http1_head_is is;
    memset(&h, 0, sizeof h);
    do
        is = http1_head_step(&h, p, n);
    while (is == HTTP1_HEAD_LINE || is == HTTP1_HEAD_HEADER);
    if (is == HTTP1_HEAD_MORE)
        return 0;
    if (is != HTTP1_HEAD_DONE)
        return -1;
    struct http1_body b;
    if (h.chunked)
        http1_body_chunked(&b, false);
    else
        http1_body_length(&b, h.sized ? h.size : 0);
    size_t body = http1_body_take(&b, p + h.length, n - h.length);
    if (b.state == HTTP1_BODY_BAD)
        return -1;
    if (b.state != HTTP1_BODY_DONE)
        return 0;
    return h.upgrade || h.connect ? -2 : (long)(h.length + body);
}
