/* See memory.h. The list is global as lwIP is: there is one netstack in a process, and one thread in it. */
#include "layer/netstack/memory.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define LARGE (32 * 1024)
#define BLOCK (65536 + 512) /* every large block: a segment of TCP_MSS with its pbuf and headers */
#define KEPT  32            /* 2 MiB */

struct kept {
    struct kept *next;
};

static struct kept *kept;
static unsigned kept_count;

void *memory_alloc(size_t size) {
    if (size < LARGE || size > BLOCK)
        return malloc(size);
    if (!kept)
        return malloc(BLOCK);
    struct kept *k = kept;
    kept = k->next;
    kept_count--;
    return k;
}

void *memory_zeroed(size_t count, size_t size) {
    void *p;
    if (__builtin_mul_overflow(count, size, &size))
        return NULL;
    p = memory_alloc(size);
    return p ? memset(p, 0, size) : NULL;
}

void memory_free(void *p) {
    if (!p || kept_count >= KEPT || malloc_usable_size(p) < BLOCK) {
        free(p);
        return;
    }
    struct kept *k = p;
    k->next = kept;
    kept = k;
    kept_count++;
}

void memory_forget(void) {
    while (kept) {
        struct kept *k = kept;
        kept = k->next;
        free(k);
    }
    kept_count = 0;
}
