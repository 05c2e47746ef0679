/* The target's files in the bridge: a mount that is attached nowhere, a channel FILES that serves it, and the door.
 *
 *     app --door--> openat2 on the mount --> kernel --/dev/fuse--> reading thread --post--> loop's thread --channel--> agent
 *
 * The kernel's requests cross as they are (native/files_words.h). What is decided here: what can be answered from what came
 * ahead (ahead.h, pages.h), whose answer an answer is, and what becomes of requests when there is no channel: they wait
 * FILESYSTEM_PATIENCE for another and are then EIO. Requests that were under way when a channel ended are EIO at once: nobody
 * can say whether they were done. A link that is cut and may be resumed is still a channel: as long as it waits, so do they;
 * who is interrupted meanwhile is told so. */
#pragma once

#include "native/fault.h"
#include "native/loop.h"
#include "native/mux.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct filesystem;

#ifndef FILESYSTEM_PATIENCE /* ns; tests have less */
#define FILESYSTEM_PATIENCE (10ull * 1000 * 1000 * 1000)
#endif

struct filesystem_settings {
    uid_t uid; /* the app's, as which the target process's files are shown */
    gid_t gid;
    bool writes; /* else the mount is read-only, whatever the agent allows */
    /* On the loop's thread: an agent refuses to serve files, and why, once for each reason. May be NULL. */
    void (*refused)(void *owner, const struct fault *why);
    void *owner;
};

/* The mount and the door, in the calling thread's network namespace; serves from filesystem_attach on. NULL: why. */
struct filesystem *filesystem_new(const struct filesystem_settings *s, struct fault *f);
/* On the loop's thread: what it needs of the loop. 0, or -1. */
int filesystem_attach(struct filesystem *fs, struct loop *l, struct fault *f);
/* On the loop's thread: nothing of it is that thread's any more. What is under way is EIO; what is asked meanwhile waits. */
void filesystem_leave(struct filesystem *fs);
/* On another loop's thread, after it: what filesystem_attach did for the first. */
void filesystem_join(struct filesystem *fs, struct loop *l);
/* On the loop's thread: requests go out by this link, from its agent's target of this number. NULL: there is none now. */
void filesystem_link(struct filesystem *fs, struct mux *m, uint32_t target);
/* On the loop's thread, or when it runs no more: leaves the loop. */
void filesystem_detach(struct filesystem *fs);
/* On another thread, after filesystem_detach: whoever waits is told ENOTCONN, its threads are joined. */
void filesystem_free(struct filesystem *fs);

struct watches;
struct watches *filesystem_watches(struct filesystem *fs);
struct made;
struct made *filesystem_made(struct filesystem *fs);
struct listings;
struct listings *filesystem_listings(struct filesystem *fs);

/* st_dev of what the door gives. */
uint64_t filesystem_device(const struct filesystem *fs);

struct filesystem_counters {
    uint64_t asked;         /* requests that crossed the link */
    uint64_t ahead;         /* and those that were answered from what had come before */
    uint64_t octets;        /* of content, from the target */
    uint64_t opened;        /* descriptors that the door gave */
    uint64_t files;         /* different ones that were opened */
    uint64_t without_layer; /* programs that started without the layer */
};

void filesystem_counters(struct filesystem *fs, struct filesystem_counters *out);
