/* What changes a file of the target's: its attributes and its content; serve.c lets nobody here whose session may not. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static int done(long result) {
    return result < 0 ? -errno : 0;
}

/* --- attributes --------------------------------------------------------------------------------------------------------- */

static struct timespec time_of(uint32_t valid, uint32_t given, uint32_t now, uint64_t sec,
                               uint32_t nsec) {
    if (valid & now)
        return (struct timespec){.tv_nsec = UTIME_NOW};
    if (valid & given)
        return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = nsec};
    return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_owner(const struct tree *t, const struct node *n, const struct fuse_setattr_in *in) {
    uid_t uid = in->valid & FATTR_UID ? uid_within(t, in->uid) : (uid_t)-1;
    gid_t gid = in->valid & FATTR_GID ? gid_within(t, in->gid) : (gid_t)-1;
    return done(fchownat(node_fd(n), "", uid, gid, AT_EMPTY_PATH));
}

/* By the handle, if there is one: it may be truncated by a descriptor of a file whose mode has been taken away since. */
static int set_size(struct tree *t, const struct node *n, const struct fuse_setattr_in *in) {
    struct handle *h = in->valid & FATTR_FH ? handles_use(&t->handles, in->fh) : NULL;
    if (h) {
        int err = done(ftruncate(h->fd, (off_t)in->size));
        handles_done(&t->handles, h);
        return err;
    }
    if (node_type(n) != S_IFREG)
        return node_type(n) == S_IFDIR ? -EISDIR : -EINVAL;
    char path[32];
    fd_path(path, node_fd(n));
    return done(truncate(path, (off_t)in->size));
}

static int set_attributes(struct tree *t, const struct node *n, const struct fuse_setattr_in *in) {
    char path[32];
    fd_path(path, node_fd(n));
    int err = 0;
    if (in->valid & FATTR_MODE)
        err = node_type(n) == S_IFLNK ? -EOPNOTSUPP : done(chmod(path, in->mode & 07777));
    if (!err && in->valid & (FATTR_UID | FATTR_GID))
        err = set_owner(t, n, in);
    if (!err && in->valid & FATTR_SIZE)
        err = set_size(t, n, in);
    if (!err && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)) {
        struct timespec times[2] = {
            time_of(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
            time_of(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec)};
        err = done(utimensat(AT_FDCWD, path, times, 0));
    }
    return err;
}

int serve_setattr(struct ask *a) {
    const struct fuse_setattr_in *in = ask_take(a, sizeof *in);
    if (!in)
        return -EINVAL;
    struct node *n = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!n)
        return -errno;
    int err = set_attributes(a->tree, n, in);
    struct statx st;
    if (!err)
        err = done(statx(node_fd(n), "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st));
    struct fuse_attr_out *out = err ? NULL : ask_room(a, sizeof *out);
    if (out) {
        out->attr_valid = FILES_VALID;
        attr_of(a->tree, &st, &out->attr);
    }
    nodes_unpin(a->tree->nodes, n);
    return !err && !out ? -ENOMEM : err;
}

/* --- content ------------------------------------------------------------------------------------------------------------ */

static int open_new(const struct node *parent, const char *name, const struct fuse_create_in *in) {
    struct open_how how = {
        .flags = (in->flags & (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)) | O_CREAT | O_EXCL |
                 O_NOFOLLOW | O_CLOEXEC,
        .mode = in->mode & 07777,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    return (int)syscall(SYS_openat2, node_fd(parent), name, &how, sizeof how);
}

/* A name that was none when the bridge's kernel looked may be one by now: it is then opened as any other, by its type, for an
 * open of a device or a FIFO would do something, or wait. */
static int open_created(struct ask *a, struct node *parent, const char *name,
                        const struct fuse_create_in *in, struct fuse_entry_out *entry) {
    int fd = open_new(parent, name, in);
    if (fd < 0 && (errno != EEXIST || in->flags & O_EXCL))
        return -errno;
    int err = look_up(a->tree, parent, name, true, entry);
    if (err || fd >= 0) {
        if (err && fd >= 0)
            close(fd);
        return err ? err : fd;
    }
    struct node *n = nodes_pin(a->tree->nodes, entry->nodeid);
    if (!n)
        return -errno;
    fd = open_node(n, (int)in->flags & (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC));
    nodes_unpin(a->tree->nodes, n);
    if (fd < 0)
        nodes_forget(a->tree->nodes, entry->nodeid, 1);
    return fd;
}

int serve_create(struct ask *a) {
    const struct fuse_create_in *in = ask_take(a, sizeof *in);
    const char *name;
    int err = in ? ask_name(a, &name) : -EINVAL;
    if (err)
        return err;
    struct {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
    } *out = ask_room(a, sizeof *out);
    struct node *parent = out ? nodes_pin(a->tree->nodes, a->head->nodeid) : NULL;
    if (!parent)
        return out ? -errno : -ENOMEM;
    int fd = open_created(a, parent, name, in, &out->entry);
    nodes_unpin(a->tree->nodes, parent);
    if (fd < 0)
        return fd;
    struct node *n = nodes_pin(a->tree->nodes, out->entry.nodeid);
    if (n)
        out->open.fh = handles_add(&a->tree->handles, fd, n);
    else
        close(fd);
    return out->open.fh ? 0 : -errno;
}

int serve_write(struct ask *a) {
    const struct fuse_write_in *in = ask_take(a, sizeof *in);
    const void *octets = in ? ask_take(a, in->size) : NULL;
    if (!octets)
        return -EINVAL;
    struct fuse_write_out *out = ask_room(a, sizeof *out);
    struct handle *h = out ? handles_use(&a->tree->handles, in->fh) : NULL;
    if (!h)
        return out ? -errno : -ENOMEM;
    ssize_t n = pwrite(h->fd, octets, in->size, (off_t)in->offset);
    int err = errno;
    handles_done(&a->tree->handles, h);
    out->size = n < 0 ? 0 : (uint32_t)n;
    return n < 0 ? -err : 0;
}

int serve_fsync(struct ask *a) {
    const struct fuse_fsync_in *in = ask_take(a, sizeof *in);
    struct handle *h = in ? handles_use(&a->tree->handles, in->fh) : NULL;
    if (!h)
        return in ? -errno : -EINVAL;
    int err = done(in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd));
    handles_done(&a->tree->handles, h);
    return err;
}

int serve_fallocate(struct ask *a) {
    const struct fuse_fallocate_in *in = ask_take(a, sizeof *in);
    struct handle *h = in ? handles_use(&a->tree->handles, in->fh) : NULL;
    if (!h)
        return in ? -errno : -EINVAL;
    int err = done(fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length));
    handles_done(&a->tree->handles, h);
    return err;
}

/* --- extended attributes ------------------------------------------------------------------------------------------------ */

int serve_setxattr(struct ask *a) {
    const struct fuse_setxattr_in *in = ask_take(a, FUSE_COMPAT_SETXATTR_IN_SIZE);
    const char *name;
    int err = in ? ask_text(a, &name) : -EINVAL;
    const void *value = err ? NULL : ask_take(a, in->size);
    if (!value)
        return err ? err : -EINVAL;
    struct node *n = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!n)
        return -errno;
    char path[32];
    fd_path(path, node_fd(n));
    err = done(
        setxattr(path, name, value, in->size, (int)in->flags & (XATTR_CREATE | XATTR_REPLACE)));
    nodes_unpin(a->tree->nodes, n);
    return err;
}

int serve_removexattr(struct ask *a) {
    const char *name;
    int err = ask_text(a, &name);
    if (err)
        return err;
    struct node *n = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!n)
        return -errno;
    char path[32];
    fd_path(path, node_fd(n));
    err = done(removexattr(path, name));
    nodes_unpin(a->tree->nodes, n);
    return err;
}
