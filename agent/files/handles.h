/* What the bridge's kernel has open: a number for each descriptor, until it is released.
 *
 * Numbers begin anywhere, as those of nodes do: a descriptor that the app had from a service before this one must be nobody's
 * here, and not another file's.
 *
 * A handle keeps its node pinned: what is open stays the inode it was, whatever becomes of its name. One that is released
 * while another thread uses it is closed by that thread, when it is done. */
#pragma once

#include "agent/files/nodes.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define HANDLES_MAX 4096 /* of a service; further opens are ENFILE */

struct handle {
    int fd;
    struct node *node;
    uint32_t uses;
    pthread_mutex_t reading; /* of a folder: its place is moved, then read from */
    int64_t at;              /* that place; -1: unknown */
};

struct handles {
    pthread_mutex_t lock;
    struct nodes *nodes;
    uint64_t before; /* the first number, less one */
    struct handle *all[HANDLES_MAX];
};

void handles_init(struct handles *t, struct nodes *nodes);
void handles_clear(struct handles *t); /* nobody uses any */

/* Takes `fd` and a pin of `node`, also on failure: 0, errno. Its number. */
uint64_t handles_add(struct handles *t, int fd, struct node *node);
/* NULL, errno ESTALE: there is none. Until handles_done. */
struct handle *handles_use(struct handles *t, uint64_t number);
void handles_done(struct handles *t, struct handle *h);
void handles_release(struct handles *t, uint64_t number);
