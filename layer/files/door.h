/* The files' door: asks of the app's programs (door_words.h), each served by one of a few threads on the mount.
 *
 * A thread takes a connection, one packet, acts, answers, closes. DOOR_THREADS of them, and more when all are at something, for
 * a disk of the target's may hang: DOOR_MOST is what an app can have under way at once, more than the agent lets hang
 * (agent/files/pool.h), so that there is always one to be told EIO; with the kernel's queue of connections (DOOR_WAITING) it is all
 * that an app that floods can occupy, and keeps only itself waiting.
 * Nothing of an asker is trusted: who it is says the kernel, what it asks is checked field by field, and a path is resolved
 * with the mount's root as its root, so that there is nothing else it could lead to. */
#pragma once

#include "native/fault.h"

#include <stdint.h>
#include <sys/types.h>

#define DOOR_THREADS 8
#define DOOR_MOST    48
#define DOOR_WAITING 128

struct door;
struct filesystem;

/* `mount` stays the caller's. Bound in the calling thread's network namespace. NULL: why. */
struct door *door_new(struct filesystem *fs, int mount, uid_t app, struct fault *f);
int door_open(struct door *d, struct fault *f); /* starts its threads */
void door_close(struct door *d); /* joins them; what they ask of the mount must come to an end */
void door_free(struct door *d);  /* closed, or never opened */
uint64_t door_opened(struct door *d);        /* descriptors given */
uint64_t door_without_layer(struct door *d); /* programs that started without the layer */
