#include "agent/files/nodes_table.h"

#include "native/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { DEPTH = 4096 };

int node_fd(const struct node *n) {
    return n->fd;
}

mode_t node_type(const struct node *n) {
    return n->type;
}

uint64_t node_device(const struct node *n) {
    return n->device;
}

uint64_t node_generation(const struct statx *st) {
    if (!(st->stx_mask & STATX_BTIME))
        return 0;
    return (uint64_t)st->stx_btime.tv_sec * 1000000000u + st->stx_btime.tv_nsec;
}

static int open_below(int folder, const char *name, bool across) {
    struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                   (across ? 0u : RESOLVE_NO_XDEV),
    };
    return (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
}

int node_stat(int fd, struct statx *st) {
    return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS | STATX_BTIME, st);
}

int nodes_look(const struct node *parent, const char *name, bool across, int *fd,
               struct statx *st) {
    *st = (struct statx){0};
    *fd = open_below(parent->fd, name, across);
    if (*fd >= 0 && node_stat(*fd, st) == 0)
        return 0;
    int err = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return err ? -err : -EIO;
}

static bool is_inode(const struct node *n, const struct statx *st) {
    return n->inode == st->stx_ino && n->device == device_of(st) && n->birth == node_generation(st);
}

/* Without the lock, `parent` pinned: a descriptor of the inode that `n` is. -1: errno. */
static int open_again(const struct node *parent, const char *name, const struct node *n) {
    struct statx st;
    int fd = -1, err = nodes_look(parent, name, true, &fd, &st);
    if (err == 0 && is_inode(n, &st))
        return fd;
    if (err == 0)
        close(fd);
    errno = err == -EACCES ? EACCES : ESTALE;
    return -1;
}

/* Locked, and so at its end; not meanwhile. `n` is pinned; opens its line of parents from where there is a descriptor. */
static int reopen(struct nodes *t, struct node *n) {
    for (int depth = 0; n->fd < 0 && depth < DEPTH; depth++) {
        struct node *lowest = n;
        while (lowest->parent && lowest->parent->fd < 0)
            lowest = lowest->parent;
        struct node *parent = lowest->parent;
        char name[NAME_MAX + 1];
        CHECK(parent != NULL); /* the root is always open */
        memcpy(name, lowest->name, strlen(lowest->name) + 1);
        table_pin(t, parent);
        table_pin(t, lowest);
        pthread_mutex_unlock(&t->lock);
        int fd = open_again(parent, name, lowest), err = errno;
        pthread_mutex_lock(&t->lock);
        if (fd >= 0 && lowest->fd < 0)
            lowest->fd = fd;
        else if (fd >= 0)
            close(fd);
        table_unpin(t, parent);
        table_unpin(t, lowest);
        if (fd < 0) {
            errno = err;
            return -1;
        }
    }
    errno = ESTALE;
    return n->fd < 0 ? -1 : 0;
}

struct node *nodes_pin(struct nodes *t, uint64_t id) {
    pthread_mutex_lock(&t->lock);
    struct node *n = table_by_id(t, id);
    errno = ESTALE;
    if (n) {
        table_pin(t, n);
        if (n->fd < 0 && reopen(t, n) < 0) {
            int err = errno;
            table_unpin(t, n);
            n = NULL;
            errno = err;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return n;
}

void nodes_unpin(struct nodes *t, struct node *n) {
    pthread_mutex_lock(&t->lock);
    table_unpin(t, n);
    pthread_mutex_unlock(&t->lock);
}
