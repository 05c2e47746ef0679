/* Answers, written to /dev/fuse: small ones by whoever has them, large ones by a thread, so that copying them does not keep the
 * loop's thread from its packets.
 *
 * An answer to READ may be cut from content that others are cut from too (runs.h); nothing is put together for it first. */
#pragma once

#include "native/fault.h"
#include "native/files_words.h"
#include "native/spares.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Octets of a file, as the agent's answer to READ brought them. Freed by the last that lets go. */
struct content {
    atomic_uint uses;
    struct spares *spares; /* where it came from */
    struct message *answer;
};

/* Takes the answer, also on failure: NULL. One use. */
struct content *content_new(struct spares *spares, struct message *answer);
void content_drop(struct content *c);
uint32_t content_len(const struct content *c);

struct part {
    struct content *content; /* a use of it */
    uint32_t from, len;
};

#define ANSWER_PARTS 2

struct answers {
    struct spares *spares;
    int device;
    pthread_t writing;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct messages large;
    bool ended;
};

/* `device` stays the caller's. 0, or -1. */
int answers_start(struct answers *a, int device, struct spares *spares, struct fault *f);
/* Joins the thread. What is put from now on is dropped. */
void answers_stop(struct answers *a);

/* Takes it: a fuse_out_header first. Any thread. */
void answers_put(struct answers *a, struct message *m);
/* Takes the parts' uses; their number is 0 at the end of a file. `here`: the calling thread writes it. */
void answers_cut(struct answers *a, uint64_t unique, const struct part *parts, uint32_t count,
                 bool here);
