#include "layer/files/asks.h"

#include <stdlib.h>

/* The kernel's numbers are even, and ours odd at the top: halving spreads both. */
static struct asked **bucket(struct asks *t, uint64_t unique) {
    return &t->buckets[(unique >> 1) % ASKS_BUCKETS];
}

struct asked *asks_add(struct asks *t, uint64_t unique) {
    struct asked *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    struct asked **at = bucket(t, unique);
    a->unique = unique;
    a->next = *at;
    *at = a;
    t->count++;
    return a;
}

struct asked *asks_find(struct asks *t, uint64_t unique) {
    struct asked *a = *bucket(t, unique);
    while (a && a->unique != unique)
        a = a->next;
    return a;
}

struct asked *asks_take(struct asks *t, uint64_t unique) {
    for (struct asked **at = bucket(t, unique); *at; at = &(*at)->next)
        if ((*at)->unique == unique) {
            struct asked *a = *at;
            *at = a->next;
            t->count--;
            return a;
        }
    return NULL;
}

struct asked *asks_any(struct asks *t) {
    for (int i = 0; i < ASKS_BUCKETS; i++)
        if (t->buckets[i])
            return asks_take(t, t->buckets[i]->unique);
    return NULL;
}
