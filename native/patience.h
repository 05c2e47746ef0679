/* Whether it pays to look for the next event for a moment before one sleeps until it comes. Knows no clock and no event.
 *
 * To wake a sleeper costs the one who wakes it as much as sending does (on a virtual machine an interrupt of another CPU is an exit
 * to the host), and the sleeper a change of context; where answers come within microseconds that is most of a round trip. So a loop
 * may look for `most` nanoseconds, but only while it has lately paid: a wait that ended within so long is trusted, one that did not
 * takes trust away, and without trust nobody looks. What is spent in vain is then no more than a look for each time that it paid or
 * would have: where events are rare, nothing. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PATIENCE_TRUST 4 /* looks in vain in a row, until they end */

/* Zeroed: never looks. */
struct patience {
    uint64_t most; /* ns */
    uint8_t trust;
};

/* How long to look now; 0: sleep at once. */
static inline uint64_t patience_look(const struct patience *p) {
    return p->trust > 0 ? p->most : 0;
}

/* A wait has ended that lasted so long, whether asleep or looking. */
static inline void patience_waited(struct patience *p, uint64_t ns) {
    if (ns > p->most)
        p->trust -= p->trust > 0;
    else if (p->trust < PATIENCE_TRUST)
        p->trust++;
}
