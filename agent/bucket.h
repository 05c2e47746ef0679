/* A token bucket: so many octets a second, and an eighth of a second's saved up. Sans-io: octets and the time come in. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define BUCKET_LEAST (16 * 1024) /* octets saved up at least: a slow rate passes whole reads too */
#define BUCKET_MOST                                                                                \
    10000000000ull /* octets a second: more is no limit that anything here could meet */

struct bucket {
    uint64_t rate; /* octets a second; 0: no limit */
    int64_t level, brim;
    uint64_t filled; /* ns; up to when it was filled */
};

void bucket_set(struct bucket *b, uint64_t rate, uint64_t now); /* full */

/* Octets that may pass now; SIZE_MAX without a limit. */
size_t bucket_room(struct bucket *b, uint64_t now);
/* May be more than there was room for: a datagram passes whole, and what comes next waits for it. */
void bucket_spend(struct bucket *b, size_t octets);
/* When there will be room for so many, or for the brim if that is less; `now` if there is. */
uint64_t bucket_when(struct bucket *b, size_t octets, uint64_t now);
