/* A service as its three files see it: desk.c, where services are opened and end, service.c, what one does with requests, and
 * service_answers.c, what becomes of their answers. */
#pragma once

#include "agent/files/files.h"
#include "agent/files/pool.h"
#include "agent/files/serve.h"

#include <stdatomic.h>

struct service {
    struct stream stream;
    struct pool pool;
    struct tree tree;
    struct credentials who;
    struct files_desk *desk;
    const void *owner;
    struct service *next, *prev; /* of the desk's */
    atomic_uint references;
    atomic_flag doomed;
    struct message *doom; /* says so: made beforehand, so that want of memory can be said too */
    bool greeted;
    uint32_t work;
    struct timer look; /* while requests wait for a thread */
    struct messages waiting;
    struct files_used *used;
    struct files_rates rates;
    struct shaped to_be_asked, to_answer; /* its places in their queues */
    size_t prepaid; /* octets of answers that the rate has let pass and that have not come */
};

struct files_desk {
    struct post post;
    atomic_uint
        references; /* the engine's, and each service's: a thread that hangs outlives the engine */
    struct service services; /* a ring's head */
};

/* service.c: what it does with its stream and its threads, from now on. */
void service_init(struct service *s);
void service_begin_more(struct service *s);

/* service_answers.c */
void service_take(struct post *p, struct post_item *item); /* an answer of a file thread's */
/* From any thread: the channel ends with this, soon, but not inside what is going on. */
void service_doom(struct service *s, int error);
/* On the loop's thread. Refuses in a message or, without memory for one, by the channel's end. */
void service_answer_error(struct service *s, uint64_t unique, int error);
/* On a file thread, as the pool calls them: a request; and that the thread cannot be the target's process, of which the peer hears the
 * errno. */
void service_serve(struct pool *p, struct message *request);
void service_refused(struct pool *p, const struct fault *why);

static inline const struct fuse_in_header *service_head(const struct message *m) {
    return (const void *)m->data;
}

/* desk.c: one of the references that it is known by. */
void service_let_go(struct service *s);
