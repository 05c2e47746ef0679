/* A table of node numbers with open addressing; the agent uses none twice (agent/files/nodes.c). */
#include "layer/files/reads.h"

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

/* The node's place, or the one that it would have. NULL: no memory. */
static uint64_t *place(struct reads *r, uint64_t node) {
    if (!r->nodes && !(r->nodes = calloc(SLOTS, sizeof *r->nodes)))
        return NULL;
    uint64_t at = node * 0x9E3779B97F4A7C15ull >> 32; /* Knuth's multiplicative hash */
    while (r->nodes[at % SLOTS] != node && r->nodes[at % SLOTS] != 0)
        at++;
    return &r->nodes[at % SLOTS];
}

/* Whether it is new, as far as that is known. */
static bool add(struct reads *r, uint64_t node) {
    uint64_t *slot = place(r, node);
    if (slot && *slot == node)
        return false;
    if (slot && r->files < READS_TOLD_APART)
        *slot = node;
    return true;
}

bool reads_is_new(struct reads *r, uint64_t node) {
    pthread_mutex_lock(&r->lock);
    const uint64_t *slot = place(r, node);
    bool is = slot && *slot != node && r->files < READS_TOLD_APART;
    pthread_mutex_unlock(&r->lock);
    return is;
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
