/* /dev/fuse: requests of this machine's kernel, read on a thread of their own and handed on; answers by answers.h.
 *
 * INIT and DESTROY are settled here. No more than FILES_IN_FLIGHT are handed on and not answered. */
#pragma once

#include "layer/files/answers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define KERNEL_LATER (50ull * 1000 * 1000) /* ns */

struct kernel {
    int device, stop; /* an eventfd */
    uint8_t *room;    /* for one request; the reading thread's */
    struct answers answers;
    pthread_t reading;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t in_flight; /* requests that were handed on and not answered */
    bool ended;
    /* On the reading thread: takes a request. */
    void (*ask)(struct kernel *k, struct message *request);
    /* On the reading thread: what kernel_later said is due. */
    void (*idle)(struct kernel *k);
    uint64_t later; /* ns: when it is; 0: nothing is. The reading thread's */
};

/* `device` stays the caller's, until kernel_stop has returned. 0, or -1: nothing runs. */
int kernel_start(struct kernel *k, int device, struct spares *spares,
                 void (*ask)(struct kernel *, struct message *), void (*idle)(struct kernel *),
                 struct fault *f);
/* Joins its threads; kernel_answer drops what it is given from now on. Not on the loop's thread. */
void kernel_stop(struct kernel *k);

/* On the reading thread: `idle` is called in KERNEL_LATER, if not before for what was put off before. */
void kernel_later(struct kernel *k);

/* Takes the answer: a fuse_out_header first, its len and error such that the kernel ends the request. Any thread. */
void kernel_answer(struct kernel *k, struct message *answer);
void kernel_error(struct kernel *k, uint64_t unique, int error); /* 0 or -errno */
/* As answers_cut: to READ. */
void kernel_cut(struct kernel *k, uint64_t unique, const struct part *parts, uint32_t count,
                bool here);

/* A file's octets from its beginning, to its pages (FUSE_NOTIFY_STORE). false: the kernel does not know the node. Waits for whoever
 * reads the same pages, so never on a thread that answers. */
bool kernel_store(struct kernel *k, uint64_t node, const void *octets, uint32_t len);

bool kernel_awaits(uint32_t opcode); /* whether there is an answer to it */
