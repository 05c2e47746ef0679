/* Datagrams that came in fragments, put together again (RFC 791 3.2, RFC 8200 4.5). Knows no socket and no clock.
 *
 * Only a first fragment begins something here. Linux sends the fragments of a datagram in order and in a row; and the mirror's
 * filter sees ports in the first alone and lets every later one pass, so that most without a first are other people's. */
#pragma once

#include "view.h"

#include <stdbool.h>
#include <stdint.h>

#define FRAGMENTS_MOST 8 /* datagrams at once, 64 KiB each; the oldest makes room */
#define FRAGMENTS_TIME                                                                             \
    (5ull * 1000 * 1000 * 1000) /* ns; a kernel waits 30 s, and sends them in a row */

struct fragments;

struct fragments *fragments_new(void); /* NULL: no memory. Most is taken with the first fragment */
void fragments_free(struct fragments *f);

/* True when this one completes its datagram; `whole` is that, borrowed until the next call. */
bool fragments_add(struct fragments *f, const struct ip_view *ip, uint64_t now,
                   struct ip_view *whole);
uint64_t fragments_lost(const struct fragments *f); /* datagrams that began and were given up */
