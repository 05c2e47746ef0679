#include "layer/files/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 64 };

/* --- looking -------------------------------------------------------------------------------------------------------------- */

static int64_t ns_of(struct statx_timestamp t) {
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool add(struct look *l, const char *name, const struct statx *s) {
    if ((l->count & (l->count - 1)) == 0) { /* a power of two: full */
        struct entry *all = realloc(l->all, (l->count ? 2 * l->count : 1) * sizeof *all);
        if (!all)
            return false;
        l->all = all;
    }
    struct entry e = {.name = strdup(name),
                      .inode = s->stx_ino,
                      .size = s->stx_size,
                      .changed_ns = ns_of(s->stx_ctime),
                      .modified_ns = ns_of(s->stx_mtime),
                      .mode = s->stx_mode,
                      .uid = s->stx_uid,
                      .gid = s->stx_gid};
    if (!e.name)
        return false;
    l->all[l->count++] = e;
    return true;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static int look_into(int fd, uint32_t most, struct look *out) {
    DIR *d = fdopendir(fd);
    int result = 0;
    if (!d) {
        result = -errno;
        close(fd);
        return result;
    }
    for (struct dirent *e; result == 0 && (errno = 0, e = readdir(d));) {
        struct statx s;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (statx(dirfd(d), e->d_name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &s) < 0)
            result = errno == ENOENT ? 0 : -errno; /* gone meanwhile */
        else if (out->count == most)
            result = -ENOSPC;
        else if (!add(out, e->d_name, &s))
            result = -ENOMEM;
    }
    if (result == 0 && errno)
        result = -errno;
    closedir(d);
    if (out->count)
        qsort(out->all, out->count, sizeof *out->all, by_name);
    return result;
}

static int reach(int mount, const char *path, int flags) {
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int tries = 0; tries < TRIES; tries++) {
        fd = syscall(SYS_openat2, mount, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int look_take(int mount, const char *path, bool no_follow, uint32_t most, struct look *out) {
    struct statx s;
    *out = (struct look){0};
    int fd = reach(mount, path, O_PATH | (no_follow ? O_NOFOLLOW : 0));
    if (fd < 0)
        return fd;
    int result = statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) < 0 ? -errno : 0;
    /* inotify_add_watch(2): read access is what is asked for. */
    if (result == 0 && !S_ISLNK(s.stx_mode) &&
        syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH) < 0)
        result = -errno;
    out->inode = s.stx_ino;
    out->folder = S_ISDIR(s.stx_mode);
    if (result == 0 && out->folder) {
        int folder = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        result = folder < 0 ? -errno : look_into(folder, most, out);
    } else if (result == 0) {
        result = add(out, "f", &s) ? 0 : -ENOMEM;
    }
    close(fd);
    if (result < 0)
        look_free(out);
    return result;
}

void look_free(struct look *l) {
    while (l->count)
        free(l->all[--l->count].name);
    free(l->all);
    l->all = NULL;
}

/* --- repeating ------------------------------------------------------------------------------------------------------------ */

static void make(int folder, const struct entry *e, const char *name) {
    if (S_ISDIR(e->mode)) {
        mkdirat(folder, name, 0755);
    } else if (S_ISLNK(e->mode)) {
        int failed = symlinkat("elsewhere", folder, name);
        (void)failed; /* no room: an event less */
    } else {
        int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd >= 0)
            close(fd);
    }
}

static void unmake(int folder, const struct entry *e) {
    unlinkat(folder, e->name, S_ISDIR(e->mode) ? AT_REMOVEDIR : 0);
}

/* Another by the same name has taken its place, as rename(2) does it. */
static void replace(int folder, int spare, const struct entry *before, const struct entry *now) {
    if (S_ISDIR(before->mode) || S_ISDIR(now->mode)) {
        unmake(folder, before);
        make(folder, now, now->name);
        return;
    }
    make(spare, now, "new");
    renameat(spare, "new", folder, now->name);
}

/* Written to, or something about it changed: the mode is turned and turned back. */
static void change(int folder, const struct entry *before, const struct entry *now) {
    bool written = S_ISREG(now->mode) &&
                   (before->size != now->size || before->modified_ns != now->modified_ns);
    if (written) {
        int fd = openat(folder, now->name, O_WRONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : pwrite(fd, "", 1, 0);
        (void)n;
        if (fd >= 0)
            close(fd);
    } else if (!S_ISLNK(now->mode) &&
               (before->mode != now->mode || before->uid != now->uid || before->gid != now->gid ||
                (!S_ISDIR(now->mode) && before->changed_ns != now->changed_ns))) {
        fchmodat(folder, now->name, S_ISDIR(now->mode) ? 0755 : 0644, 0);
    }
}

static const struct entry *find(const struct look *l, const char *name) {
    const struct entry key = {.name = (char *)(uintptr_t)name};
    return l->count ? bsearch(&key, l->all, l->count, sizeof key, by_name) : NULL;
}

/* Under what name the other look has this inode, which this one has under another. */
static const struct entry *elsewhere(const struct look *l, const struct look *not_in,
                                     const struct entry *e) {
    for (uint32_t i = 0; i < l->count; i++)
        if (l->all[i].inode == e->inode && l->all[i].mode == e->mode &&
            !find(not_in, l->all[i].name))
            return &l->all[i];
    return NULL;
}

void look_replay(int shadow, int spare, const struct look *before, const struct look *now) {
    for (uint32_t i = 0; i < before->count; i++) {
        const struct entry *e = &before->all[i];
        const struct entry *to = find(now, e->name) ? NULL : elsewhere(now, before, e);
        if (to)
            renameat(shadow, e->name, shadow, to->name);
        else if (!find(now, e->name))
            unmake(shadow, e);
    }
    for (uint32_t i = 0; i < now->count; i++) {
        const struct entry *e = &now->all[i], *old = find(before, e->name);
        if (!old && !elsewhere(before, now, e))
            make(shadow, e, e->name);
        else if (old && (old->inode != e->inode || (old->mode ^ e->mode) & S_IFMT))
            replace(shadow, spare, old, e);
        else if (old)
            change(shadow, old, e);
    }
}
