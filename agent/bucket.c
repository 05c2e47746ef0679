/* See bucket.h. */
#include "agent/bucket.h"

#define SECOND 1000000000ull
#define STEP   (10 * SECOND) /* this and BUCKET_MOST keep the products below 2^64 */

void bucket_set(struct bucket *b, uint64_t rate, uint64_t now) {
    b->rate = rate < BUCKET_MOST ? rate : BUCKET_MOST;
    b->brim = b->rate / 8 > BUCKET_LEAST ? (int64_t)(b->rate / 8) : BUCKET_LEAST;
    b->level = b->brim;
    b->filled = now;
}

/* What comes in `ns`, STEP at most. */
static uint64_t worth(const struct bucket *b, uint64_t ns) {
    return b->rate / SECOND * ns + b->rate % SECOND * ns / SECOND;
}

/* How long it takes until so many have come. */
static uint64_t takes(const struct bucket *b, uint64_t octets) {
    return octets / b->rate * SECOND + (octets % b->rate * SECOND + b->rate - 1) / b->rate;
}

/* Only the time that whole octets took is used up, to the nanosecond: however often it is looked at, no part of a slow rate
 * is lost. */
static void fill(struct bucket *b, uint64_t now) {
    while (b->level < b->brim && now > b->filled) {
        uint64_t ns = now - b->filled < STEP ? now - b->filled : STEP;
        uint64_t more = worth(b, ns);
        if (more == 0)
            return;
        b->level += (int64_t)more;
        b->filled += b->rate < SECOND ? (more * SECOND + b->rate - 1) / b->rate : ns;
    }
    if (b->level >= b->brim) {
        b->level = b->brim;
        b->filled = now;
    }
}

size_t bucket_room(struct bucket *b, uint64_t now) {
    if (b->rate == 0)
        return SIZE_MAX;
    fill(b, now);
    return b->level > 0 ? (size_t)b->level : 0;
}

void bucket_spend(struct bucket *b, size_t octets) {
    if (b->rate != 0)
        b->level -= (int64_t)octets;
}

uint64_t bucket_when(struct bucket *b, size_t octets, uint64_t now) {
    int64_t wanted = octets < (size_t)b->brim ? (int64_t)octets : b->brim;
    if (b->rate == 0)
        return now;
    fill(b, now);
    return b->level >= wanted ? now : b->filled + takes(b, (uint64_t)(wanted - b->level));
}
