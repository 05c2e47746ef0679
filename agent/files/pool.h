/* A service's threads: each becomes the target's process before its first request, and is that until it ends.
 *
 * They are started as there is work that nobody waits for, POOL_THREADS at most. One that has been at a request for POOL_STUCK is
 * not counted: what it asks of (a network's disk, a FUSE server) may never answer, and other files are served meanwhile, by
 * another thread in its place. When POOL_MOST are stuck, nothing more is begun (pool_is_stuck). A pool that is ended has no more
 * work; its threads end when they are done with what they are at, which may be never: nobody waits for them, and the last one
 * out calls `over`. */
#pragma once

#include "agent/files/credentials.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdbool.h>

#define POOL_THREADS 8
#define POOL_MOST    40
#define POOL_STUCK   (250ull * 1000 * 1000) /* ns */

struct pool_worker { /* on its thread's stack */
    struct pool_worker *next, *prev;
    uint64_t since; /* ns: when it began its request */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work;
    struct messages queue;
    struct pool_worker busy; /* a ring's head; the one that began first is first */
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
/* Starts threads in the place of those that are stuck. Whether requests still wait, so that this is to be called again in
 * POOL_STUCK. */
bool pool_look(struct pool *p);
/* As many as there may be are stuck. */
bool pool_is_stuck(struct pool *p);
/* The first that nobody has begun; NULL. */
struct message *pool_take_first(struct pool *p);
/* Takes one back that nobody has begun; NULL: there is none of this number. */
struct message *pool_take_back(struct pool *p, bool (*is)(const struct message *m, uint64_t number),
                               uint64_t number);
void pool_end(struct pool *p);
