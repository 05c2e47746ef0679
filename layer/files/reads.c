/* A table of node numbers with open addressing; the agent uses none twice (agent/files/nodes.c). */
#include "layer/files/reads.h"

#include <stdbool.h>
#include <stdlib.h>

enum { SLOTS = 2 * READS_TOLD_APART };

void reads_init(struct reads *r) {
    *r = (struct reads){0};
    pthread_mutex_init(&r->lock, NULL);
}

void reads_free(struct reads *r) {
    free(r->nodes);
    pthread_mutex_destroy(&r->lock);
}

/* Whether it is new, as far as that is known. */
static bool add(struct reads *r, uint64_t node) {
    if (!r->nodes && !(r->nodes = calloc(SLOTS, sizeof *r->nodes)))
        return true;
    uint64_t at = node * 0x9E3779B97F4A7C15ull >> 32; /* Knuth's multiplicative hash */
    for (;; at++) {
        uint64_t *slot = &r->nodes[at % SLOTS];
        if (*slot == node)
            return false;
        if (*slot == 0) {
            if (r->files < READS_TOLD_APART)
                *slot = node;
            return true;
        }
    }
}

void reads_opened(struct reads *r, uint64_t node) {
    pthread_mutex_lock(&r->lock);
    r->files += add(r, node);
    pthread_mutex_unlock(&r->lock);
}

void reads_got(struct reads *r, uint64_t octets) {
    pthread_mutex_lock(&r->lock);
    r->octets += octets;
    pthread_mutex_unlock(&r->lock);
}

void reads_sum(struct reads *r, uint64_t *files, uint64_t *octets) {
    pthread_mutex_lock(&r->lock);
    *files = r->files;
    *octets = r->octets;
    pthread_mutex_unlock(&r->lock);
}
