/* Where an answer of HTTP/1 ends, and what follows it (RFC 9112 6.3): the next answer, the connection's end, another protocol.
 * Its octets are passed on while they come, so nothing here waits for a head to be whole. Lenient where clients are: the
 * answer is forwarded whatever is found, what matters is who may speak after it. */
#pragma once

#include "agent/http/http1_body.h"

#define HTTP1_ANSWER_LINE                                                                          \
    256 /* octets of a line that are looked at; what is longer says nothing of framing */

enum http1_answer_is {
    HTTP1_ANSWER_MORE,     /* all was taken */
    HTTP1_ANSWER_INTERIM,  /* a 1xx head ended: the answer is still to come */
    HTTP1_ANSWER_SWITCHED, /* 101, or a CONNECT that succeeded: what follows is no HTTP/1 */
    HTTP1_ANSWER_HEAD,     /* the final head ended: `last` and `body` are known */
    HTTP1_ANSWER_DONE,     /* the answer is whole; ready for the next one */
    HTTP1_ANSWER_BAD,      /* no HTTP/1 */
};

struct http1_answer {
    bool begun;   /* an octet of this head, or of its body, has come */
    bool in_body; /* the final head has ended */
    bool last;    /* no answer follows on this connection */
    bool keep_alive, close, sized, chunked, odd; /* what the head said */
    bool in_headers;
    uint8_t minor;
    uint16_t status;
    uint64_t size;
    struct http1_body body;
    uint16_t
        line_n; /* of the line that is not whole yet; HTTP1_ANSWER_LINE + 1: too long to be looked at */
    uint8_t line[HTTP1_ANSWER_LINE];
};

void http1_answer_begin(struct http1_answer *a);
/* Takes octets, up to what the answer says; `*taken` of them, all to be passed on (with BAD, those before the doubt too).
 * `head` and `connect`: the request's method was that one. */
enum http1_answer_is http1_answer_take(struct http1_answer *a, bool head, bool connect,
                                       const uint8_t *p, size_t n, size_t *taken);
