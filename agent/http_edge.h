/* Where, in a connection whose beginning nobody saw, an HTTP/1 request certainly begins. Knows sequence numbers and the first
 * octets of payloads; no socket, no clock, no stream.
 *
 * An observer that came late cannot tell a request from the body of one before it. Three things together leave no doubt
 * for any client that waits for its answers (RFC 9112 9.3.2 allows pipelining; such a client is joined when it pauses):
 *
 * 1. the target has acknowledged everything that the client ever sent, up to C;
 * 2. after that it began an answer: a final status line (not 1xx; 101 ends HTTP/1 here) exactly at the octet that the
 *    client's last segment said it expects next, so that no earlier body can be in flight;
 * 3. the client goes on exactly at C, with a request line.
 *
 * The first two are tracked here from packets; the third is http_edge_line on what the target acknowledged from C on. */
#pragma once

#include "native/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_EDGE_LINE 8192 /* octets of a request line at most, as most servers have it */
#define HTTP_EDGE_DOUBTS                                                                           \
    3 /* answers in a place where HTTP/1 has its status line, and had something else */

enum http_edge_state {
    HTTP_EDGE_WAITING,
    HTTP_EDGE_READY, /* 1 and 2 hold: a request can begin at `client_next` */
    HTTP_EDGE_NEVER, /* TLS, upgraded, or three times no HTTP/1 */
};

struct http_edge {
    uint32_t client_next; /* C, if client_known */
    uint32_t target_next; /* where the answer must begin, if client_known */
    bool client_known;
    uint8_t doubts;
    bool lost;         /* an answer may have been missed */
    uint8_t state;     /* enum http_edge_state */
    uint16_t code;     /* of the last final answer, 101 included; 0: none was seen */
    uint32_t answered; /* C, when it came */
};

enum http_edge_line { HTTP_EDGE_MORE, HTTP_EDGE_REQUEST, HTTP_EDGE_OTHER };

void http_edge_begin(struct http_edge *e);

/* A packet of the client's. Whether it begins a request at a boundary is to be asked before it is told here. */
bool http_edge_begins(const struct http_edge *e, const struct tcp_view *t);
void http_edge_client(struct http_edge *e, const struct tcp_view *t);

/* A packet of the target's, of which `t->payload_len` octets were captured and `cut` more were not. */
void http_edge_target(struct http_edge *e, const struct tcp_view *t, size_t cut);

void http_edge_doubt(struct http_edge *e); /* what began at the boundary was no request */

/* Whether `p` begins with a request line of HTTP/1.0 or 1.1 (RFC 9112 3), with nothing that servers are lenient about. */
enum http_edge_line http_edge_line(const uint8_t *p, size_t n);
