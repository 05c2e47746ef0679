/* Channels by number: a hash table whose chains run through the channels themselves. */
#include "mux_inner.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BITS = 6 };

/* Fibonacci hashing (Knuth, TAOCP 6.4): ascending numbers, of one parity or both, spread evenly. */
static struct channel **bucket(const struct mux_table *t, uint32_t id) {
    return &t->buckets[id * 0x9e3779b1u >> (32 - t->bits)];
}

bool table_init(struct mux_table *t) {
    *t = (struct mux_table){.bits = FIRST_BITS};
    t->buckets = calloc((size_t)1 << FIRST_BITS, sizeof(struct channel *));
    return t->buckets != NULL;
}

void table_free(struct mux_table *t) {
    free(t->buckets);
    *t = (struct mux_table){0};
}

struct channel *table_find(const struct mux_table *t, uint32_t id) {
    struct channel *c = *bucket(t, id);
    while (c != NULL && c->id != id)
        c = c->hash_next;
    return c;
}

struct channel *table_next(const struct mux_table *t, size_t *cursor) {
    while (*cursor >> t->bits == 0) {
        if (t->buckets[*cursor] != NULL)
            return t->buckets[*cursor];
        ++*cursor;
    }
    return NULL;
}

static void insert(struct mux_table *t, struct channel *c) {
    struct channel **place = bucket(t, c->id);
    c->hash_next = *place;
    *place = c;
}

/* Twice the buckets, 8 octets each for channels of which each is larger. Without memory the chains grow instead. */
static void grow(struct mux_table *t) {
    struct mux_table wide = {.bits = t->bits + 1, .count = t->count};
    wide.buckets = calloc((size_t)1 << wide.bits, sizeof(struct channel *));
    if (wide.buckets == NULL)
        return;
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        while (t->buckets[i] != NULL) {
            struct channel *c = t->buckets[i];
            t->buckets[i] = c->hash_next;
            insert(&wide, c);
        }
    }
    free(t->buckets);
    *t = wide;
}

void table_add(struct mux_table *t, struct channel *c) {
    if (t->count >> t->bits != 0 && t->bits < 24)
        grow(t);
    insert(t, c);
    t->count++;
}

void table_remove(struct mux_table *t, struct channel *c) {
    struct channel **place = bucket(t, c->id);
    while (*place != c)
        place = &(*place)->hash_next;
    *place = c->hash_next;
    t->count--;
}
