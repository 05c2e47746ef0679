/* One direction of all that a session's app does from its targets and in their place, held to a rate: streams wait their
 * turn, datagrams are dropped and counted.
 *
 * Who has found no room waits in a queue; a timer gives each a share of what the bucket holds by then, the longest waiting
 * first. While anybody waits, nobody else finds room, so no stream can live at another's cost. Nothing is kept here: a
 * stream that waits leaves its octets in the socket or in its own backlog, whose window bounds them. */
#pragma once

#include "agent/bucket.h"
#include "native/loop.h"

#include <stdbool.h>
#include <sys/queue.h>

/* Embedded in its owner, zeroed. `go` is its turn: it passes what shaper_room allows, and may wait again, or end. */
struct shaped {
    TAILQ_ENTRY(shaped) order;
    void (*go)(struct shaped *self);
    bool waits;
};

struct shaper {
    struct loop *loop;
    struct bucket bucket;
    struct timer timer;
    TAILQ_HEAD(shaped_queue, shaped) queue;
    uint32_t waiting;
    bool turning; /* somebody has his turn */
    size_t share; /* octets that are left of it */
    uint64_t dropped;
};

void shaper_init(struct shaper *s, struct loop *l); /* without a limit */
void shaper_fini(struct shaper *s);                 /* nobody waits any more */
void shaper_set(struct shaper *s, uint64_t rate);   /* octets a second; 0: no limit */

/* Octets of a stream that may pass now; 0: shaper_wait. */
size_t shaper_room(struct shaper *s);
void shaper_pass(struct shaper *s, size_t octets); /* they did */
void shaper_wait(struct shaper *s, struct shaped *who);
void shaper_leave(struct shaper *s, struct shaped *who); /* who does not wait: nothing */

/* Whether this datagram may pass; then it did. */
bool shaper_datagram(struct shaper *s, size_t octets);
