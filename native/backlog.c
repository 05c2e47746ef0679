/* See backlog.h. */
#include "backlog.h"

#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct chunk {
    struct chunk *next;
    uint32_t from, to;
    uint8_t octets[BACKLOG_CHUNK];
};

static struct chunk *take(struct chunk_pool *pool) {
    struct chunk *c = pool->spare;
    if (c) {
        pool->spare = c->next;
        pool->count--;
    } else {
        c = malloc(sizeof *c);
        if (!c)
            return NULL;
    }
    c->next = NULL;
    c->from = c->to = 0;
    return c;
}

static void give(struct chunk_pool *pool, struct chunk *c) {
    if (pool->count >= BACKLOG_SPARE) {
        free(c);
        return;
    }
    c->next = pool->spare;
    pool->spare = c;
    pool->count++;
}

void chunk_pool_free(struct chunk_pool *pool) {
    while (pool->spare) {
        struct chunk *c = pool->spare;
        pool->spare = c->next;
        free(c);
    }
    pool->count = 0;
}

bool backlog_push(struct backlog *q, struct chunk_pool *pool, const void *p, size_t n) {
    CHECK(
        n <=
        BACKLOG_CHUNK); /* a DATA frame at most: so one more chunk is enough, and a failure leaves nothing half done */
    size_t fits = q->last ? BACKLOG_CHUNK - q->last->to : 0;
    size_t head = n < fits ? n : fits;
    struct chunk *more = NULL;
    if (head < n && !(more = take(pool)))
        return false;
    if (head) {
        memcpy(q->last->octets + q->last->to, p, head);
        q->last->to += (uint32_t)head;
    }
    if (more) {
        memcpy(more->octets, (const uint8_t *)p + head, n - head);
        more->to = (uint32_t)(n - head);
        if (q->last)
            q->last->next = more;
        else
            q->first = more;
        q->last = more;
    }
    q->len += n;
    return true;
}

static void drop_first(struct backlog *q, struct chunk_pool *pool) {
    struct chunk *c = q->first;
    q->first = c->next;
    if (!q->first)
        q->last = NULL;
    give(pool, c);
}

const uint8_t *backlog_front(const struct backlog *q, size_t *n) {
    const struct chunk *c = q->first;
    *n = c ? c->to - c->from : 0;
    return c ? c->octets + c->from : NULL;
}

void backlog_drop(struct backlog *q, struct chunk_pool *pool, size_t n) {
    struct chunk *c = q->first;
    if (n == 0)
        return;
    CHECK(c && n <= c->to - c->from);
    q->len -= n;
    c->from += (uint32_t)n;
    if (c->from == c->to)
        drop_first(q, pool);
}

long backlog_flush(struct backlog *q, struct chunk_pool *pool, int fd) {
    return backlog_flush_some(q, pool, fd, SIZE_MAX);
}

long backlog_flush_some(struct backlog *q, struct chunk_pool *pool, int fd, size_t most) {
    long written = 0;
    while (q->first && (size_t)written < most) {
        size_t all;
        const uint8_t *p = backlog_front(q, &all);
        if (all > most - (size_t)written)
            all = most - (size_t)written;
        ssize_t n = send(fd, p, all, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? written : -1;
        written += n;
        backlog_drop(q, pool, (size_t)n);
        if ((size_t)n < all)
            return written;
    }
    return written;
}

void backlog_clear(struct backlog *q, struct chunk_pool *pool) {
    while (q->first)
        drop_first(q, pool);
    q->len = 0;
}
