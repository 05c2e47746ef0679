/* The file system as its own files see it. */
#pragma once

#include "layer/files/ahead.h"
#include "layer/files/asks.h"
#include "layer/files/door.h"
#include "layer/files/filesystem.h"
#include "layer/files/kernel.h"
#include "layer/files/listings.h"
#include "layer/files/made.h"
#include "layer/files/pages.h"
#include "layer/files/reads.h"
#include "layer/files/runs.h"
#include "layer/files/sockets.h"
#include "layer/files/tops.h"
#include "layer/files/walk.h"
#include "layer/files/watches.h"

#include "native/post.h"
#include "native/spares.h"
#include "native/stream.h"

#include <stdatomic.h>

/* Numbers of our own requests; the kernel's are below. */
#define FILESYSTEM_OWN (1ull << 63)

struct walk {                /* on its door thread's stack */
    uint64_t number, handle; /* of a connection */
    int error;
    bool done;
};

struct filesystem {
    struct filesystem_settings settings;
    int device, mount;
    struct spares spares; /* of answers with content */
    struct kernel kernel;
    struct door *door;
    struct ahead ahead;
    struct pages pages;
    struct made made;
    struct runs runs;
    struct tops tops;
    struct watches watches;
    struct listings listings;
    struct reads reads;
    struct post post;
    atomic_uint_fast64_t own; /* the last of our own numbers */
    pthread_mutex_t lock;     /* walks' ends */
    pthread_cond_t walked;
    atomic_uint_fast64_t asked, from_ahead;

    /* From here on the loop's thread's. */
    _Atomic(struct loop *) loop; /* door threads look which one it is */
    struct stream stream;
    struct mux *mux; /* NULL: none */
    uint32_t target;
    int refused; /* the last reason that was told */
    struct asks asks;
    struct messages held; /* while there is no channel */
    bool given_up;        /* it has been so for too long: nothing is held until there is one */
    struct timer patience, again;
    struct sockets sockets;
};

/* A request of ours, to be posted: zeroed but for its header. */
struct message *filesystem_own(struct filesystem *fs, uint32_t opcode, uint64_t node, size_t body);
/* Takes it. From any thread. false: there is nobody to take it any more, and it is freed. */
bool filesystem_post(struct filesystem *fs, struct message *m);
/* The same for what nobody waits for: it goes with what is posted next, so that no thread is woken for it alone. */
bool filesystem_post_later(struct filesystem *fs, struct message *m);
void filesystem_forget(struct filesystem *fs, uint64_t node);
void filesystem_release(struct filesystem *fs, uint64_t node, uint64_t handle);
bool filesystem_is_there(const struct filesystem *fs); /* a channel */

static inline const struct fuse_in_header *asked_head(const struct message *m) {
    return (const void *)m->data;
}

static inline bool asked_is_own(uint64_t unique) {
    return unique & FILESYSTEM_OWN;
}

/* known.c; the first three on the kernel's reading thread */
void known_ask(struct kernel *k, struct message *m);
void known_idle(struct kernel *k);
struct message *known_read(struct runs *r, uint64_t node, const struct fuse_read_in *in);
void known_give(struct filesystem *fs, const struct runs_answer *a,
                bool here); /* cut from what came ahead */
void known_count(struct filesystem *fs, uint32_t opcode, uint64_t node,
                 const struct message *answer);

/* asking.c */
void asking_take(struct post *p, struct post_item *item);
void asking_put(struct filesystem *fs, struct message *m); /* there is a channel */
/* Whoever asked is told that it could not be done. */
void asking_fail(struct filesystem *fs, uint64_t unique, struct walk *w, int error);
void asking_fail_message(struct filesystem *fs, struct message *m, int error);
void asking_end_runs(struct filesystem *fs);
void asking_patience(struct timer *t); /* it is over: what is held is EIO, and what comes */

/* answered.c */
void answered_got(struct stream *s, struct message *m);

/* walk.c: from the loop's thread, who waits for it goes on */
void walk_done(struct filesystem *fs, struct walk *w);
