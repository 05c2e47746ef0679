/* A service's threads: each becomes the target's process before its first request, and is that until it ends.
 *
 * They are started as there is work that nobody waits for, POOL_THREADS at most. A pool that is ended has no more work; its
 * threads end when they are done with what they are at, which may be never if the target's disk hangs: nobody waits for them,
 * and the last one out calls `over`. */
#pragma once

#include "agent/files/credentials.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdbool.h>

#define POOL_THREADS 8

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct messages queue;
    uint32_t threads, idle, queued;
    bool ended;
    const struct credentials *who;
    /* On a file thread: takes the request. */
    void (*serve)(struct pool *p, struct message *request);
    /* On a file thread: it could not become the process. */
    void (*refused)(struct pool *p, const struct fault *why);
    /* After pool_end, when no thread is left: on whatever thread was the last. */
    void (*over)(struct pool *p);
};

/* `who` is filled in before the first pool_put. */
void pool_init(struct pool *p, const struct credentials *who);
void pool_free(struct pool *p); /* from `over`, or never started */
/* Takes the request. -1: there is no thread, and none can be made. */
int pool_put(struct pool *p, struct message *request);
/* Takes one back that nobody has begun; NULL: there is none of this number. */
struct message *pool_take_back(struct pool *p, bool (*is)(const struct message *m, uint64_t number),
                               uint64_t number);
void pool_end(struct pool *p);
