#include "agent/own.h"

#include <stdlib.h>
#include <string.h>

struct own {
    struct endpoint at;
    struct own *next;      /* in its bucket */
    struct own *next_gone; /* in the order of their ends */
    uint64_t ended;
};

struct own_table {
    struct own **buckets;
    uint32_t size; /* a power of two */
    uint32_t count;
    struct own *gone, **gone_tail;
};

static struct own **bucket_of(const struct own_table *t, const struct endpoint *e) {
    return &t->buckets[endpoint_hash(e, 0) & (t->size - 1)];
}

struct own_table *own_table_new(void) {
    struct own_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->size = 64;
    t->buckets = calloc(t->size, sizeof(struct own *));
    if (!t->buckets) {
        free(t);
        return NULL;
    }
    t->gone_tail = &t->gone;
    return t;
}

void own_table_free(struct own_table *t) {
    if (!t)
        return;
    for (uint32_t i = 0; i < t->size; i++)
        for (struct own *o = t->buckets[i], *next; o; o = next) {
            next = o->next;
            free(o);
        }
    free(t->buckets);
    free(t);
}

/* Without memory for more buckets the old ones serve on, slower. */
static void grow(struct own_table *t) {
    struct own **old = t->buckets;
    uint32_t old_size = t->size;
    struct own **buckets = calloc((size_t)old_size * 2, sizeof(struct own *));
    if (!buckets)
        return;
    t->buckets = buckets;
    t->size = old_size * 2;
    for (uint32_t i = 0; i < old_size; i++)
        for (struct own *o = old[i], *next; o; o = next) {
            next = o->next;
            struct own **b = bucket_of(t, &o->at);
            o->next = *b;
            *b = o;
        }
    free(old);
}

struct own *own_add(struct own_table *t, const struct endpoint *e) {
    struct own *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    if (t->count >= t->size)
        grow(t);
    o->at = *e;
    struct own **b = bucket_of(t, e);
    o->next = *b;
    *b = o;
    t->count++;
    return o;
}

static void forget(struct own_table *t, struct own *o) {
    struct own **at = bucket_of(t, &o->at);
    while (*at != o)
        at = &(*at)->next;
    *at = o->next;
    t->count--;
    free(o);
}

void own_remove(struct own_table *t, struct own *o, uint64_t now) {
    if (o) {
        o->ended = now;
        o->next_gone = NULL;
        *t->gone_tail = o;
        t->gone_tail = &o->next_gone;
    }
    while (t->gone && now - t->gone->ended > OWN_LINGER) {
        struct own *first = t->gone;
        t->gone = first->next_gone;
        if (!t->gone)
            t->gone_tail = &t->gone;
        forget(t, first);
    }
}

static bool has_exactly(const struct own_table *t, const struct endpoint *e) {
    for (const struct own *o = *bucket_of(t, e); o; o = o->next)
        if (endpoint_equal(&o->at, e))
            return true;
    return false;
}

bool own_has(const struct own_table *t, const struct endpoint *e) {
    if (has_exactly(t, e))
        return true;
    struct endpoint any = *e;
    memset(any.addr.ip, 0, sizeof any.addr.ip);
    return has_exactly(t, &any);
}
