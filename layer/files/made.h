/* What the app has made in folders of the target's that it may only read (layer/preload/upper.h): listed behind what the target has.
 *
 *     app's layer: OPEN, and a descriptor of the folder of its own in which those things are ──► door's thread
 *     door: names read there ─ ioctl(2) on the folder's new descriptor ─► this file system: of that handle
 *     READDIR of the handle: the target's entries, then those whose names were not among them
 *
 * So whoever lists it sees them, libc or not, and the descriptor stays the target's folder. What is listed is what was there when
 * the folder was opened. They have no attributes (node 0): what they are called is the layer's to find. Any thread. */
#pragma once

#include "native/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#define MADE_MOST 65536 /* names in a folder; further ones are not listed */
#define MADE_CALL _IO('M', 0x52)

struct made_folder;

struct made {
    pthread_mutex_t lock;
    atomic_uint count;
    struct made_folder *first;
};

void made_init(struct made *m);
void made_clear(struct made *m);

/* On a door's thread: what is in `own` is listed with the folder of the mount's that `folder` is a descriptor of. */
void made_join(struct made *m, int folder, int own);
/* The thread's MADE_CALL has come with this handle. False: it is none of a door's. */
bool made_claim(struct made *m, pid_t thread, uint64_t handle);
void made_released(struct made *m, uint64_t handle);

/* The answer to a READDIR or READDIRPLUS that goes on among what was made; NULL: it is the target's. */
struct message *made_answer(struct made *m, const struct message *request);
/* Takes the target's answer to one; where it says that there is no more, what was made is. */
struct message *made_behind(struct made *m, struct message *answer, uint64_t handle, uint32_t size,
                            bool plus);
