/* What a link that may be cut has sent, or has yet to send, and the peer has not acknowledged: octets by their number.
 *
 * Octets are numbered from 0, in the order in which they are put. `acked` <= `sent` <= `end`; what lies below `acked` is
 * gone. Knows no frame, and of the socket only how to write to it. */
#pragma once

#include "mux_queue.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEPT_PIECE 65536
#define KEPT_SLOTS 512 /* a power of two; so many pieces are the most that can be held */
#define KEPT_MAX   ((size_t)(KEPT_SLOTS - 1) * KEPT_PIECE)
#define KEPT_SPARE 64 /* empty pieces at hand for what comes next; given back when little is held */

struct kept {
    uint8_t *slots[KEPT_SLOTS]; /* octet n is in slot n / KEPT_PIECE % KEPT_SLOTS */
    uint8_t *spare[KEPT_SPARE];
    unsigned spares;
    uint64_t acked, sent, end;
};

struct kept *kept_new(void); /* NULL: no memory. A few KiB; pieces come with the octets */
void kept_free(struct kept *k);

size_t kept_held(const struct kept *k);   /* not acknowledged, sent or not */
size_t kept_unsent(const struct kept *k); /* of those, what the socket has not taken yet */

/* All of it or nothing: false, no memory. At most KEPT_MAX octets are held (CHECK). */
bool kept_put(struct kept *k, const void *p, size_t n);
/* Writes what is not sent, until there is no more or the socket takes no more. */
enum queue_result kept_send(struct kept *k, int fd);
/* The peer has so many. False: so many were never sent. Fewer than it had before are no news. */
bool kept_ack(struct kept *k, uint64_t received);
/* The peer has so many, and what was sent beyond them is lost: it is to be sent again. False: it cannot be. */
bool kept_rewind(struct kept *k, uint64_t received);
/* Gives back the memory of the pieces at hand. */
void kept_trim(struct kept *k);
