#include "watchers.h"

#include "caller.h"

#include "layer/preload/ask.h"
#include "layer/preload/place.h"
#include "layer/preload/raw.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "layer/preload/libc.h"

enum { MOST = 128 }; /* as many as a user may have, by default (max_user_instances) */

struct watcher {
    pid_t process; /* 0: the place is free */
    int number, fd;
};

struct watchers {
    pthread_mutex_t lock;
    struct watcher all[MOST];
};

struct watchers *watchers_make(void) {
    struct watchers *all = calloc(1, sizeof *all);
    if (all)
        pthread_mutex_init(&all->lock, NULL);
    return all;
}

static bool is_there(const struct watcher *w) {
    char name[64], text[64];
    snprintf(name, sizeof name, "/proc/%d/fd/%d", (int)w->process, w->number);
    long n = raw(SYS_readlinkat, AT_FDCWD, name, text, sizeof text - 1);
    if (n < 0)
        return errno != ENOENT; /* another user's may not be looked at */
    text[n] = '\0';
    return strcmp(text, "anon_inode:inotify") == 0;
}

static void drop(struct watcher *w) {
    raw(SYS_close, w->fd);
    w->process = 0;
}

/* A place for one more; NULL: all are in use. */
static struct watcher *swept(struct watchers *all) {
    struct watcher *free_one = NULL;
    for (struct watcher *w = all->all; w < all->all + MOST; w++) {
        if (w->process && !is_there(w))
            drop(w);
        if (!w->process)
            free_one = w;
    }
    return free_one;
}

int watchers_new(struct watchers *all, int flags) {
    pthread_mutex_lock(&all->lock);
    bool room = swept(all) != NULL;
    pthread_mutex_unlock(&all->lock);
    if (room)
        return (int)raw(SYS_inotify_init1, flags | IN_CLOEXEC);
    place_left();
    return -1;
}

void watchers_keep(struct watchers *all, int number, int fd) {
    pid_t process = caller_process();
    pthread_mutex_lock(&all->lock);
    struct watcher *to = NULL;
    for (struct watcher *w = all->all; w < all->all + MOST; w++)
        if (!w->process ? !to : w->process == process && w->number == number)
            to = w;
    if (to && to->process)
        drop(to);
    if (to)
        *to = (struct watcher){process, number, fd};
    else
        raw(SYS_close, fd);
    pthread_mutex_unlock(&all->lock);
}

/* A descriptor of the caller's inotify, to be closed; or -1. */
static int own(struct watchers *all, int number) {
    pid_t process = caller_process();
    int fd = -1;
    pthread_mutex_lock(&all->lock);
    for (struct watcher *w = all->all; w < all->all + MOST; w++)
        if (w->process == process && w->number == number)
            fd = (int)raw(SYS_fcntl, w->fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&all->lock);
    return fd;
}

/* What is watched in place of the path: a descriptor, O_PATH. */
static int watched(const struct place *p, enum route route, uint32_t mask) {
    bool itself = mask & IN_DONT_FOLLOW;
    if (route == ROUTE_HERE)
        return (int)raw(SYS_openat, AT_FDCWD, p->path,
                        O_PATH | O_CLOEXEC | (itself ? O_NOFOLLOW : 0), 0);
    struct ask a = {.path = p->path,
                    .head = {.op = DOOR_WATCH, .flags = itself ? DOOR_NOFOLLOW : 0}};
    return ask_door(&a) < 0 ? -1 : a.fd;
}

static int add(int inotify, const struct place *p, enum route route, uint32_t mask) {
    int to = watched(p, route, mask);
    if (to < 0)
        return -1;
    struct fd_name name = fd_name(to);
    int watch =
        (int)raw(SYS_inotify_add_watch, inotify, name.text, mask & ~(uint32_t)IN_DONT_FOLLOW);
    int why = errno;
    raw(SYS_close, to);
    errno = why;
    return watch;
}

int watchers_add(struct watchers *all, int number, const char *path, uint32_t mask) {
    struct place p;
    enum route route = place_find_of_two(&p, AT_FDCWD, path, mask & IN_DONT_FOLLOW ? SEES : LOOKS);
    if (route == ROUTE_FAILED)
        return -1;
    int inotify = route == ROUTE_OWN ? -1 : own(all, number);
    if (inotify < 0) {
        place_left();
        return -1;
    }
    int watch = add(inotify, &p, route, mask);
    int why = errno;
    raw(SYS_close, inotify);
    errno = why;
    return watch;
}
