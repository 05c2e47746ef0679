/* HTTP/2 (prior knowledge) on one client's connection: each stream goes to one party.
 *
 * Until a stream is taken the connection is only read: every octet goes through as it came, and whatever cannot be understood
 * makes the exchange `raw`. From the first taken stream on:
 *
 * - client to target: frames as they were, but header blocks are encoded anew, by the static table alone (the target must not
 *   miss what taken streams' blocks would have put into its table, so its table is emptied once and left so);
 * - target to client: the target's own octets. The app's header blocks are encoded without the dynamic table and say nothing
 *   of its size, so the client's table stays what the target's encoder thinks it is;
 * - an app's leg is a client's session of nghttp2 with the same stream numbers.
 *
 * Windows. What the client sends on taken streams is withheld from the target, so we repay the connection's window in its
 * stead; the stream's own when the app has taken the octets. What an app sends uses the client's connection window, of which
 * the target does not know: that debt is settled from the client's next WINDOW_UPDATEs before the target gets any, and a
 * DATA frame of the target's that the client has no room for is waited with. At zero the target's octets stay in its
 * socket; they move with the client's next WINDOW_UPDATE, as they would have without us. */
#pragma once

#include "agent/gate/exchange_inner.h"

struct http2 *http2_new(struct exchange *x);
void http2_free(struct http2 *h);

/* As their namesakes in exchange.h. */
size_t http2_offer(struct http2 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now);
void http2_room(struct http2 *h);
void http2_reset(struct http2 *h, unsigned party);
void http2_accepted(struct http2 *h, unsigned party);
void http2_refused(struct http2 *h, unsigned party);
void http2_link(struct http2 *h, unsigned slot, bool up, uint64_t now);
void http2_gone(struct http2 *h, unsigned slot);
void http2_drain(struct http2 *h);
uint64_t http2_deadline(const struct http2 *h);
void http2_tick(struct http2 *h, uint64_t now);
