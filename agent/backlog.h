/* Octets that a socket did not take yet: a list of equal chunks out of a pool, so that nothing is allocated per write.
 *
 * The bound is the caller's: a channel's peer never has more on the way than its window, and only what was written is
 * granted again, so a backlog holds a window at most. The pool keeps BACKLOG_SPARE chunks for the next slow socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BACKLOG_CHUNK 65536
#define BACKLOG_SPARE 32

struct chunk;

struct chunk_pool {
    struct chunk *spare;
    uint32_t count;
};

struct backlog {
    struct chunk *first, *last;
    size_t len; /* octets in all */
};

void chunk_pool_free(struct chunk_pool *pool);

bool backlog_push(struct backlog *q, struct chunk_pool *pool, const void *p,
                  size_t n); /* false: no memory, nothing kept */
/* Writes to a non-blocking socket until it takes no more: the octets written, or -1 with errno (not EAGAIN: that is 0). */
long backlog_flush(struct backlog *q, struct chunk_pool *pool, int fd);
void backlog_clear(struct backlog *q, struct chunk_pool *pool);
