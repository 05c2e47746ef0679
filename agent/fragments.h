/* Datagrams that came in fragments, put together again (RFC 791 3.2, RFC 8200 4.5). Knows no socket and no clock.
 *
 * The mirror's filter sees ports only in a datagram's first fragment, and lets every later one pass. So only a first fragment
 * begins something here; later ones without one are other people's, or came out of order, which Linux's own never do. */
#pragma once

#include "native/view.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAGMENTS_MOST 8 /* datagrams at once, 64 KiB each; the oldest makes room */
#define FRAGMENTS_TIME                                                                             \
    (5ull * 1000 * 1000 * 1000) /* ns; a kernel waits 30 s, but then they are long out of order */

struct fragments;

struct fragments *
fragments_new(void); /* NULL: no memory. Takes its memory with the first fragment */
void fragments_free(struct fragments *f);

/* True when this one completes its datagram; `whole` is that, borrowed until the next call. */
bool fragments_add(struct fragments *f, const struct ip_view *ip, uint64_t now,
                   struct ip_view *whole);
uint64_t fragments_lost(const struct fragments *f); /* datagrams that began and were given up */
