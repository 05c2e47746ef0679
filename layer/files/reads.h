/* What the app had of the target's files, for people: how many it opened, and how much came from them. It decides nothing. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Files are told apart until there are this many; from then on each open counts, so that the sum says too much, never too
 * little, and a program that opens millions costs 128 KiB. */
#define READS_TOLD_APART 8192

struct reads {
    pthread_mutex_t lock;
    uint64_t files, octets;
    uint64_t *nodes; /* a table of twice as many, 0: free; NULL until the first */
};

void reads_init(struct reads *r);
void reads_free(struct reads *r);
/* From any thread: an open that succeeded, of this node. */
void reads_opened(struct reads *r, uint64_t node);
/* Whether this node was never opened, as far as that is known. */
bool reads_is_new(struct reads *r, uint64_t node);
void reads_got(struct reads *r, uint64_t octets);
/* Both so far. */
void reads_sum(struct reads *r, uint64_t *files, uint64_t *octets);
