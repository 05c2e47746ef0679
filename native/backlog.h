/* Octets that somebody did not take yet: a list of equal chunks out of a pool, so that nothing is allocated per write.
 *
 * The bound is the caller's: a channel's peer never has more on the way than its window, and only what was written is
 * granted again, so a backlog holds a window at most. The pool keeps BACKLOG_SPARE chunks for the next slow taker. */
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
/* The oldest octets, as many as lie together; and they are taken, `n` of them at most. NULL, 0: there are none. */
const uint8_t *backlog_front(const struct backlog *q, size_t *n);
void backlog_drop(struct backlog *q, struct chunk_pool *pool, size_t n);
/* Writes to a non-blocking socket until it takes no more: the octets written, or -1 with errno (not EAGAIN: that is 0). */
long backlog_flush(struct backlog *q, struct chunk_pool *pool, int fd);
/* The same of at most `most` octets. */
long backlog_flush_some(struct backlog *q, struct chunk_pool *pool, int fd, size_t most);
void backlog_clear(struct backlog *q, struct chunk_pool *pool);
