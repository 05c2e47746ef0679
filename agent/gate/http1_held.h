/* What an app was given of a request and has not answered a word of, for as long as another may still be asked in its place.
 *
 * An app that closes an idle connection just as a request comes, or that ends while requests wait in its backlog, loses what it never
 * looked at; nobody can tell that from one that it began to work on. So only requests of a safe method may be repeated
 * (agent/http/method.h), and only before any octet of an answer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP1_HELD                                                                                 \
    65536 /* octets of a request, with what of its body was given: one that is longer cannot be repeated */

struct http1_held {
    uint8_t *p;
    size_t n, room;
    bool may; /* the request may be repeated, and all that was given of it is here */
};

/* An app is about to be given a request of this method; nothing else is owed. */
void http1_held_begin(struct http1_held *h, const uint8_t *method, size_t n);
void http1_held_add(struct http1_held *h, const uint8_t *p, size_t n);
/* It can no longer be repeated: an octet of an answer has come, or another request waits behind it. */
void http1_held_done(struct http1_held *h);
void http1_held_free(struct http1_held *h);
