/* Requests that wait for the agent's answer, by their number. The loop's thread alone.
 *
 * Bounded by who asks: the kernel's by FILES_IN_FLIGHT, the door's by its threads. */
#pragma once

#include "native/stream.h"

#include <stdbool.h>
#include <stdint.h>

#define ASKS_BUCKETS 256

struct asked {
    struct asked *next;
    uint64_t unique, node, handle;
    uint32_t opcode, size;
    bool dropped;      /* who asked has been told EINTR: the answer is for nobody */
    struct walk *walk; /* WALK's: who waits for it */
};

struct asks {
    struct asked *buckets[ASKS_BUCKETS];
    uint32_t count;
};

/* NULL: no memory. */
struct asked *asks_add(struct asks *t, uint64_t unique);
struct asked *asks_find(struct asks *t, uint64_t unique);
/* Out of the table, the caller's to free. NULL: there is none. */
struct asked *asks_take(struct asks *t, uint64_t unique);
struct asked *asks_any(struct asks *t);
