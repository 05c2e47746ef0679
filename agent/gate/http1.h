/* HTTP/1 on one client's connection: each request goes to one party, and the answers come back in the requests' order.
 *
 * One rule makes the order safe: a request is given to another party than the one before it only when all that was asked
 * before has been answered. Requests to one party may be pipelined; at no time do two parties owe an answer. What follows a
 * request that may end HTTP/1 (CONNECT, Upgrade) waits for its answer.
 *
 * Octets are forwarded as they are, and as soon as the request's party is known: with the request line, if no filter can match
 * any more, else with its head's end. Whatever cannot be certain becomes the target's: the exchange ends as `raw`. */
#pragma once

#include "agent/gate/exchange_inner.h"

struct http1 *http1_new(struct exchange *x);
void http1_free(struct http1 *h);

/* As their namesakes in exchange.h. */
size_t http1_offer(struct http1 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now);
void http1_reset(struct http1 *h, unsigned party, uint64_t now);
void http1_accepted(struct http1 *h, unsigned party);
void http1_refused(struct http1 *h, unsigned party);
void http1_link(struct http1 *h, unsigned slot, bool up, uint64_t now);
void http1_gone(struct http1 *h, unsigned slot, uint64_t now);
void http1_drain(struct http1 *h, uint64_t now);
uint64_t http1_deadline(const struct http1 *h);
void http1_tick(struct http1 *h, uint64_t now);
