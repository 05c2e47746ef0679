/* /dev/fuse: requests of this machine's kernel read on a thread of their own, answers written from any.
 *
 * Two threads: one reads and hands each request on; one writes the large answers, so that copying them does not keep the
 * loop's thread from its packets. Small ones are written where they come from. INIT and DESTROY are settled here. */
#pragma once

#include "native/fault.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct kernel {
    int device, stop; /* an eventfd */
    uint8_t *room;    /* for one request; the reading thread's */
    pthread_t reading, writing;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct messages large; /* answers for the writing thread */
    uint32_t in_flight;    /* requests that were handed on and not answered */
    bool ended;
    /* On the reading thread: takes a request. */
    void (*ask)(struct kernel *k, struct message *request);
};

/* `device` stays the caller's, until kernel_stop has returned. 0, or -1: nothing runs. */
int kernel_start(struct kernel *k, int device, void (*ask)(struct kernel *, struct message *),
                 struct fault *f);
/* Joins both threads; kernel_answer drops what it is given from now on. Not on the loop's thread. */
void kernel_stop(struct kernel *k);

/* Takes the answer: a fuse_out_header first, its len and error such that the kernel ends the request. Any thread. */
void kernel_answer(struct kernel *k, struct message *answer);
void kernel_error(struct kernel *k, uint64_t unique, int error); /* 0 or -errno */

bool kernel_awaits(uint32_t opcode); /* whether there is an answer to it */
