/* How much of a session is mirrored, where the way is shared by others: whole connections, the oldest kept.
 *
 * A bucket of one second's octets. While it is less than half full, or those that are there can be expected to use up the
 * rate, no connection is begun. While it is overdrawn the youngest of those that sent something lately are ended until the
 * rest fits the rate, but never the oldest of them: what is shown is shown whole, and to its end. Sans-io: shares, octets and
 * the time come in; who is to be ended comes out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define MIRROR_RATE_PERIOD                                                                         \
    (250ull * 1000 * 1000) /* ns; so long it is measured who sends how much */

/* One connection's part, embedded in its owner. */
struct mirror_share {
    TAILQ_ENTRY(mirror_share) order;
    uint64_t octets;   /* in this period */
    uint64_t expected; /* a second */
    bool begun;
};

struct mirror_rate {
    uint64_t rate; /* octets a second; 0: no limit */
    int64_t bucket;
    uint64_t filled; /* ns; when it was filled up last */
    uint64_t period; /* ns; when this one began */
    uint64_t octets; /* of all shares, in this period */
    uint64_t
        expected; /* octets a second: what each that is there sent in the last period, or `average` */
    uint64_t average; /* of those, for one that began since */
    uint32_t count;
    TAILQ_HEAD(mirror_shares, mirror_share) shares; /* oldest first */
};

void mirror_rate_init(struct mirror_rate *r);
void mirror_rate_set(struct mirror_rate *r, uint64_t rate, uint64_t now); /* the bucket is full */

/* Whether one more may begin; then it is begun, until it is ended (one that is not begun: nothing). */
bool mirror_rate_allows(struct mirror_rate *r, uint64_t now);
void mirror_rate_begin(struct mirror_rate *r, struct mirror_share *s);
void mirror_rate_end(struct mirror_rate *r, struct mirror_share *s);

/* `s` is begun. */
void mirror_rate_spend(struct mirror_rate *r, struct mirror_share *s, uint64_t octets);
/* Whether this one, which belongs to no connection, may be shown; if so, it is spent. */
bool mirror_rate_datagram(struct mirror_rate *r, uint64_t octets, uint64_t now);
/* Whom to end now, one at a time, each ended before the next is asked for; NULL: nobody. */
struct mirror_share *mirror_rate_excess(struct mirror_rate *r, uint64_t now);
