/* Directories that libc opens for itself: opendir(3), scandir(3), glob(3). What follows is the kernel's. */
#include "hook.h"
#include "open.h"
#include "stat.h"

#include <dirent.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

EXPORT DIR *opendir(const char *path) {
    int fd = open_of_target(path, O_RDONLY | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd == OPEN_NOT_OURS)
        return REAL(opendir)(path);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d) {
        int why = errno;
        raw(SYS_close, fd);
        errno = why;
    }
    return d;
}

struct entries {
    struct dirent **all;
    size_t n, room;
};

static int keep(struct entries *e, const struct dirent *one) {
    if (e->n == e->room) {
        size_t room = e->room ? 2 * e->room : 16;
        struct dirent **all = realloc(e->all, room * sizeof *all);
        if (!all)
            return -1;
        e->all = all;
        e->room = room;
    }
    struct dirent *copy = malloc(one->d_reclen);
    if (!copy)
        return -1;
    e->all[e->n++] = memcpy(copy, one, one->d_reclen);
    return 0;
}

static int drop(struct entries *e) {
    int why = errno;
    while (e->n)
        free(e->all[--e->n]);
    free(e->all);
    errno = why;
    return -1;
}

typedef int wanted_one(const struct dirent *);
typedef int order_of_two(const struct dirent **, const struct dirent **);

/* libc's own, over our opendir: its is called from inside. */
static int scan(DIR *d, struct dirent ***out, wanted_one *wanted, order_of_two *order) {
    if (!d)
        return -1;
    struct entries e = {0};
    struct dirent *one;
    int before = errno, failed = 0;
    while (errno = 0, !failed && (one = readdir(d)))
        if (!wanted || wanted(one))
            failed = keep(&e, one);
    failed = failed || errno;
    int why = errno;
    closedir(d);
    errno = why;
    if (failed)
        return drop(&e);
    errno = before;
    if (order && e.n)
        qsort(e.all, e.n, sizeof *e.all, (int (*)(const void *, const void *))(void *)order);
    *out = e.all;
    return (int)e.n;
}

EXPORT int scandir(const char *path, struct dirent ***out, wanted_one *wanted,
                   order_of_two *order) {
    return scan(opendir(path), out, wanted, order);
}

#ifdef __GLIBC__
EXPORT int scandirat(int dirfd, const char *path, struct dirent ***out, wanted_one *wanted,
                     order_of_two *order) {
    int fd = open_by_rules(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d)
        raw(SYS_close, fd);
    return scan(d, out, wanted, order);
}

static void *glob_opendir(const char *path) {
    return opendir(path);
}

static struct dirent *glob_readdir(void *d) {
    return readdir(d);
}

static void glob_closedir(void *d) {
    closedir(d);
}

static int glob_stat(const char *restrict path, struct stat *restrict s) {
    return stat_by_rules(AT_FDCWD, path, s, 0);
}

static int glob_lstat(const char *restrict path, struct stat *restrict s) {
    return stat_by_rules(AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW);
}

/* glob(3) takes the calls that it is to use (GLOB_ALTDIRFUNC): who has said his own keeps them. */
EXPORT int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *g) {
    if (place_active() && !(flags & GLOB_ALTDIRFUNC)) {
        g->gl_opendir = glob_opendir;
        g->gl_readdir = glob_readdir;
        g->gl_closedir = glob_closedir;
        g->gl_stat = glob_stat;
        g->gl_lstat = glob_lstat;
        flags |= GLOB_ALTDIRFUNC;
    }
    return REAL(glob)(pattern, flags, failed, g);
}

struct dirent64;
typedef int wanted64(const struct dirent64 *);
typedef int order64(const struct dirent64 **, const struct dirent64 **);
ALSO(scandir) int scandir64(const char *, struct dirent64 ***, wanted64 *, order64 *);
ALSO(scandirat)
int scandirat64(int, const char *, struct dirent64 ***, wanted64 *, order64 *);
ALSO(glob) int glob64(const char *, int, int (*)(const char *, int), glob64_t *);
#endif
