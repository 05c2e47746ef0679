/* Files that are read in order, asked for ahead of the kernel: it has 256 KiB under way and as many behind them, which on a way of
 * 50 ms is 10 MB/s, and wakes every thread between it and the target for each of them.
 *
 * A run is a handle whose READs follow each other. Pieces beyond the last of them are asked for, `window` octets in all: few at
 * first, twice as many when the kernel had to wait although nothing queues on the way (a piece takes less than twice the least
 * that any took), so a near target's stay few. What came and is not asked for within a second is dropped, as what came ahead
 * elsewhere is; then the window is halved. A READ that reaches further than the end of what came is the agent's to answer: the
 * file may have grown. Any thread. */
#pragma once

#include "layer/files/answers.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define RUNS_MAX 64
#define RUNS_LEAST                                                                                 \
    (64u *                                                                                         \
     1024) /* of a READ that makes a run: a smaller one is a program's that looks here and there */
#define RUNS_FIRST (2u * FILES_IO)
#define RUNS_MOST  (8u * 1024 * 1024)  /* a channel's window on a long way */
#define RUNS_ALL   (32u * 1024 * 1024) /* octets of all pieces, here or on their way */

struct run;

struct runs {
    struct spares *spares;
    pthread_mutex_t lock;
    struct run *all; /* the one used last is first */
    uint32_t count, octets;
    uint64_t least; /* ns that a piece took; it grows by itself, for ways change */
    /* A request of ours for READ, its number in its header; NULL: no memory. */
    struct message *(*read)(struct runs *r, uint64_t node, const struct fuse_read_in *in);
};

enum runs_result {
    RUNS_NOT,   /* it is the agent's to answer */
    RUNS_WAITS, /* taken: runs_came answers it, or gives it back */
    RUNS_HERE,  /* `parts` are its answer */
};

struct runs_answer {
    uint64_t unique;
    uint32_t count;
    struct part parts[ANSWER_PARTS];
};

void runs_init(struct runs *r, struct spares *spares,
               struct message *(*read)(struct runs *r, uint64_t node,
                                       const struct fuse_read_in *in));
/* A READ of the kernel's. `wishes`: requests to be posted, whatever the result. */
enum runs_result runs_ask(struct runs *r, struct message *request, struct runs_answer *answer,
                          struct messages *wishes);
/* The answer to a wish (taken), or NULL: there will be none. `back`: READs that the agent is to be asked after all. */
void runs_came(struct runs *r, uint64_t unique, struct message *answer, struct messages *back);
/* Then, until it says false: a READ that waited and has its answer. */
bool runs_next(struct runs *r, struct runs_answer *answer);
/* A READ that waits, out of it; NULL: it does not. */
struct message *runs_take_back(struct runs *r, uint64_t unique);
/* The file has another content from now on: nothing that was asked for before is given to who asks from now on. */
void runs_stale(struct runs *r, uint64_t node);
void runs_released(struct runs *r, uint64_t handle);
/* All are over: READs that waited. */
void runs_clear(struct runs *r, struct messages *waiting);
