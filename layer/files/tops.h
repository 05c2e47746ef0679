/* The names below the root that the kernel has been told of, so that it can be told to forget them all.
 *
 * When an agent's service ends, every node it told of is nobody's, but for a second the kernel goes on by what it knows. To
 * let go of the entries below the root is to let go of all that is below them. It must not be done on a thread that answers
 * requests: the kernel takes the root's lock for it, which one who waits for an answer may hold. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define TOPS_MAX 256 /* further ones are forgotten by the kernel in its own time */

struct tops {
    pthread_mutex_t lock;
    atomic_bool stale; /* a service has ended since */
    uint32_t count;
    char *names[TOPS_MAX];
};

void tops_init(struct tops *t);
void tops_clear(struct tops *t);
void tops_told(struct tops *t, const char *name); /* which is looked up below the root */
void tops_stale(struct tops *t);
/* Tells the kernel behind `device`, if there is something to tell. May wait for others' requests to be answered. */
void tops_refresh(struct tops *t, int device);
