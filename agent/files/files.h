/* The target's files, served to one bridge: a channel FILES, and threads that act as the target's process.
 *
 *     channel --- loop's thread: whole requests, in their order ---> pool of threads ---> answers ---> loop's thread --- channel
 *
 * File calls block (a disk, a network's disk), so none is made on the loop's thread, and none of these threads touches the
 * channel. A service has a pool of its own, because its threads are, for the file system, its target's process and nobody
 * else for as long as they live (credentials.h). A thread that hangs holds up its own service only.
 *
 * What waits is bounded: requests by the channel's window, which is granted as they are begun; answers by how many requests
 * are begun (WORK) and by how much is unsent (UNSENT) before no more are.
 *
 * Held to a rate (shaper.h), it is requests that wait: each is charged with its own octets as it is begun, and with those of
 * the data that it asks for; what else an answer has is charged as it comes. */
#pragma once

#include "agent/shaper.h"
#include "native/fault.h"
#include "native/loop.h"
#include "native/mux.h"

#include <stdbool.h>
#include <sys/types.h>

/* One in an engine. */
struct files_desk;

struct files_desk *files_desk_new(struct loop *l, struct fault *f);
/* All channels have ended. Threads that are still in a call of the kernel's end by themselves. */
void files_desk_free(struct files_desk *d);

/* Whose files. `pidfd` stays the caller's. */
struct files_target {
    pid_t pid;
    int pidfd;     /* -1: no files of it are served */
    bool writes;   /* it may be changed */
    bool connects; /* its Unix sockets may be connected to */
    struct files_used *used;
};

/* What was done of a session's right, the owner's to keep as long as itself. NULL: nobody asks. */
struct files_used {
    bool read, written;
};

/* What the bridge says, and what it is told. */
struct files_rates {
    struct shaper *up, *down;
};

/* The channel, or NULL and why. `owner`: what files_leave will say. */
struct channel *files_open(struct files_desk *d, const struct files_target *t,
                           struct files_rates rates, const void *owner, int *err);
/* The connected Unix socket that one of the owner's services has under this number, and has no more: the caller's. -1 and errno. */
int files_take(struct files_desk *d, const void *owner, uint64_t handle);
/* The owner is no more: its services end, their channels are reset. */
void files_leave(struct files_desk *d, const void *owner, int err);
