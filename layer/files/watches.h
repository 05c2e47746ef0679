/* inotify(7) on the target's files: a watch of the app's is on a shadow of what it watches, and what changes there is done to it.
 *
 *     app: inotify_add_watch(its own, a descriptor of the shadow) ... events, as the app's kernel makes them
 *     here: every WATCHES_EVERY looks at what is watched, and repeats on the shadow what has become of it
 *
 * A FUSE file system can make no events. A shadow is a folder (with files of the same names and nothing in them) or a file of a
 * tmpfs that is in no tree; so wd, cookies, masks, IN_ONESHOT and what is read are the kernel's. Seen is what differs from the
 * last look: not who opens or reads, and of what came and went in between nothing. What was watched is looked at until the session
 * ends, for nobody tells when a watch is given up. Rejected: the agent's own inotify in the target, which would take of the
 * watches that the target's user may have. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define WATCHES_MOST  512  /* ENOSPC then, as where the user's limit is reached */
#define WATCHES_NAMES 4096 /* in a folder */
#ifndef WATCHES_EVERY
#define WATCHES_EVERY 1000 /* ms */
#endif

struct watch;

struct watches {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, over;
    int mount;  /* the target's files */
    int shadow; /* the tmpfs; -1: not made yet */
    uint32_t count, made;
    struct watch
        *first; /* gone through by the thread alone, which takes out; others put in front */
};

void watches_init(struct watches *w, int mount);
/* The shadow of what the path leads to: a descriptor (O_PATH), or -errno, as inotify_add_watch(2). From any thread. */
int watches_add(struct watches *w, const char *path, bool no_follow);
/* What the thread asks of the mount must come to an end. */
void watches_close(struct watches *w);
