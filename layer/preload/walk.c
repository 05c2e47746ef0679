/* nftw(3) and ftw(3), whose libc walks by calls of its own: a walk of ours over our own calls, as POSIX says it.
 *
 * Descends by name, with one directory open for each level. */
#include "hook.h"
#include "open.h"
#include "stat.h"

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

#ifndef FTW_ACTIONRETVAL
#define FTW_ACTIONRETVAL  0
#define FTW_CONTINUE      0
#define FTW_STOP          1
#define FTW_SKIP_SUBTREE  2
#define FTW_SKIP_SIBLINGS 3
#endif

typedef int visit_new(const char *, const struct stat *, int, struct FTW *);
typedef int visit_old(const char *, const struct stat *, int);

struct walk {
    visit_new *visit;
    visit_old *old;
    int flags,
        from; /* where relative paths begin: with FTW_CHDIR a descriptor of where it was called */
    dev_t device;
    char path[PATH_MAX];
};

struct level {
    const struct level *above;
    DIR *folder;
    dev_t dev;
    ino_t ino;
};

static int visited(struct walk *w, const struct stat *s, int type, int base, int depth) {
    struct FTW where = {.base = base, .level = depth};
    return w->old ? w->old(w->path, s, type) : w->visit(w->path, s, type, &where);
}

/* What nftw(3) calls it. */
static int type_of(const struct walk *w, struct stat *s) {
    if (stat_by_rules(w->from, w->path, s, w->flags & FTW_PHYS ? AT_SYMLINK_NOFOLLOW : 0) == 0)
        return S_ISDIR(s->st_mode) ? FTW_D : S_ISLNK(s->st_mode) ? FTW_SL : FTW_F;
    if (!(w->flags & FTW_PHYS) && stat_by_rules(w->from, w->path, s, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISLNK(s->st_mode))
        return w->old ? FTW_NS : FTW_SLN;
    return FTW_NS;
}

/* A directory that we are in already, by a symbolic link. */
static bool loops(const struct level *above, const struct stat *s) {
    for (; above; above = above->above)
        if (above->dev == s->st_dev && above->ino == s->st_ino)
            return true;
    return false;
}

static int step(struct walk *w, size_t len, int base, int depth, const struct level *above);

static int entries(struct walk *w, DIR *d, size_t len, int depth, const struct level *self) {
    int result = 0;
    struct dirent *e;
    size_t slash = w->path[len - 1] != '/';
    while (result == 0 && (e = readdir(d))) {
        size_t n = strlen(e->d_name);
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (len + slash + n >= sizeof w->path) {
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(w->path + len, "/", slash);
        memcpy(w->path + len + slash, e->d_name, n + 1);
        result = step(w, len + slash + n, (int)(len + slash), depth + 1, self);
        w->path[len] = '\0';
        if (w->flags & FTW_ACTIONRETVAL && result == FTW_SKIP_SIBLINGS)
            return 0;
    }
    return result;
}

static DIR *opened(const struct walk *w) {
    int fd = open_by_rules(w->from, w->path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC, 0);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (fd >= 0 && !d)
        raw(SYS_close, fd);
    return d;
}

static bool ends(const struct walk *w, int result) {
    return result == -1 || (w->flags & FTW_ACTIONRETVAL ? result == FTW_STOP : result != 0);
}

/* With FTW_CHDIR, back to where the entries beside this directory are seen from. */
static void leave(const struct walk *w, const struct level *self, int result) {
    if (w->flags & FTW_CHDIR && self->above && !ends(w, result))
        (void)!fchdir(dirfd(self->above->folder));
}

static int directory(struct walk *w, const struct stat *s, size_t len, int base, int depth,
                     const struct level *above) {
    DIR *d = opened(w);
    struct level self = {above, d, s->st_dev, s->st_ino};
    if (!d)
        return visited(w, s, FTW_DNR, base, depth);
    int result = w->flags & FTW_DEPTH ? 0 : visited(w, s, FTW_D, base, depth);
    if (result == 0 && w->flags & FTW_CHDIR && fchdir(dirfd(d)) < 0)
        result = -1;
    if (result == 0)
        result = entries(w, d, len, depth, &self);
    else if (w->flags & FTW_ACTIONRETVAL && result == FTW_SKIP_SUBTREE)
        result = 0;
    int why = errno;
    closedir(d);
    errno = why;
    if (result == 0 && w->flags & FTW_DEPTH)
        result = visited(w, s, FTW_DP, base, depth);
    leave(w, &self, result);
    return result;
}

static int step(struct walk *w, size_t len, int base, int depth, const struct level *above) {
    struct stat s = {0};
    int type = type_of(w, &s);
    if (type == FTW_NS && depth == 0)
        return -1;
    if (w->flags & FTW_MOUNT && depth > 0 && type != FTW_NS && s.st_dev != w->device)
        return 0;
    if (depth == 0)
        w->device = s.st_dev;
    if (type != FTW_D)
        return visited(w, &s, type, base, depth);
    return loops(above, &s) ? 0 : directory(w, &s, len, base, depth, above);
}

/* The directory that the whole is in. */
static bool enter(const struct walk *w, int base) {
    char above[PATH_MAX];
    size_t n = base > 1 ? (size_t)base - 1 : 1;
    memcpy(above, w->path, n);
    above[n] = '\0';
    return chdir(above) == 0;
}

static int walked(struct walk *w, const char *path) {
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof w->path) {
        errno = len ? ENAMETOOLONG : ENOENT;
        return -1;
    }
    memcpy(w->path, path, len + 1);
    while (len > 1 && w->path[len - 1] == '/')
        w->path[--len] = '\0';
    const char *last = strrchr(w->path, '/');
    int base = last && last[1] ? (int)(last + 1 - w->path) : 0;
    if (w->flags & FTW_CHDIR && base > 0 && !enter(w, base))
        return -1;
    return step(w, len, base, 0, NULL);
}

#ifdef __GLIBC__
/* FTW_CHDIR: each entry is seen from the directory that it is in, and in the end the caller is back. */
static int moving(struct walk *w, const char *path) {
    w->from = (int)raw(SYS_openat, AT_FDCWD, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (w->from < 0)
        return -1;
    int result = walked(w, path), why = errno;
    bool back = fchdir(w->from) == 0;
    why = back ? why : errno;
    raw(SYS_close, w->from);
    errno = why;
    return back ? result : -1;
}
#endif

EXPORT int nftw(const char *path, visit_new *visit, int most, int flags) {
    if (!place_active())
        return REAL(nftw)(path, visit, most, flags);
    struct walk w = {.visit = visit, .flags = flags, .from = AT_FDCWD};
#ifdef __GLIBC__
    if (flags & FTW_CHDIR)
        return moving(&w, path);
#else
    w.flags &= ~FTW_CHDIR; /* musl moves nowhere */
#endif
    return walked(&w, path);
}

EXPORT int ftw(const char *path, visit_old *visit, int most) {
    if (!place_active())
        return REAL(ftw)(path, visit, most);
    struct walk w = {.old = visit, .from = AT_FDCWD};
    return walked(&w, path);
}

#ifdef __GLIBC__
struct stat64;
ALSO(nftw)
int nftw64(const char *, int (*)(const char *, const struct stat64 *, int, struct FTW *), int, int);
ALSO(ftw) int ftw64(const char *, int (*)(const char *, const struct stat64 *, int), int);
#else
ALSO(nftw) int nftw64(const char *, visit_new *, int, int);
ALSO(ftw) int ftw64(const char *, visit_old *, int);
#endif
