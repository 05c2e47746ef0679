/* What other threads hand to the loop's thread without waiting for it: a queue and an eventfd.
 *
 * loop_call waits until its call is done, which a thread that serves many must not. The queue has no bound of its own: whoever
 * posts is bounded (requests in flight, replies to what was asked). */
#pragma once

#include "fault.h"
#include "loop.h"

#include <pthread.h>

struct post_item {
    struct post_item *next;
};

/* `take` runs on the loop's thread, once for each item, in their order. */
struct post {
    struct loop *loop;
    struct loop_fd io;
    pthread_mutex_t lock;
    struct post_item *first, **last;
    bool closed;
    bool told; /* the eventfd, and nothing has been taken since */
    void (*take)(struct post *self, struct post_item *item);
};

/* On the loop's thread, or before it runs. 0, or -1. */
int post_open(struct post *p, struct loop *l, void (*take)(struct post *, struct post_item *),
              struct fault *f);
/* What waits is taken first. The struct stays, for those who still post. */
void post_close(struct post *p);

/* On the loop's thread: what is posted from now on waits until the post has joined another, on that one's thread. */
void post_leave(struct post *p);
void post_join(struct post *p, struct loop *l);

/* From any thread. false: it is closed, the item stays the caller's. */
bool post_put(struct post *p, struct post_item *item);
/* The same, for what is in no hurry: it is taken with what is put next, or after post_tell. */
bool post_put_later(struct post *p, struct post_item *item);
void post_tell(struct post *p);
