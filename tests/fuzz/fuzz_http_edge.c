/* Invariant: no payload makes the boundary core read past it; a request line is judged the same however its octets arrive:
 * more octets never turn a "request" into anything else, nor an "other" into a request; and READY only after a status line.
 *
 * Input: records of (who, seq, ack, cut, length) and that many octets of payload.
 * Sources: agent/http_edge.c native/fault.c */
#include "agent/http_edge.h"
#include "native/fault.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const uint8_t *p, size_t n) {
    enum http_edge_line last = HTTP_EDGE_MORE;
    for (size_t i = 0; i <= n; i++) {
        enum http_edge_line is = http_edge_line(p, i);
        CHECK(last == HTTP_EDGE_MORE || is == last);
        last = is;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct http_edge e;
    http_edge_begin(&e);
    const uint8_t *end = data + size;
    for (const uint8_t *p = data; p + 5 <= end;) {
        size_t n = p[4] < end - p - 5 ? p[4] : (size_t)(end - p - 5);
        uint8_t *exact = malloc(n + 1);
        memcpy(exact, p + 5, n);
        exact = realloc(exact, n ? n : 1); /* no octet behind it, for the address sanitizer */
        struct tcp_view t = {
            .seq = p[1], .ack = p[2], .flags = TCP_FLAG_ACK, .payload = exact, .payload_len = n};
        bool was_ready = e.state == HTTP_EDGE_READY;
        if (p[0] & 1) {
            http_edge_target(&e, &t, p[3]);
            CHECK(e.state != HTTP_EDGE_READY || was_ready || memcmp(exact, "HTTP/1.", 7) == 0);
        } else {
            CHECK(!http_edge_begins(&e, &t) || (was_ready && n > 0));
            http_edge_client(&e, &t);
        }
        judge(exact, n);
        free(exact);
        p += 5 + n;
    }
    return 0;
}
