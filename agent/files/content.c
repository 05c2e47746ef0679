/* Files and folders that are opened, and what is read from them. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Of a request's flags, those that reach the target's open(2). O_NONBLOCK is added: nothing here may wait for somebody
 * (a lease's holder). O_DIRECT and O_NOATIME are not the app's to choose for the target's disk. */
#define OPEN_FLAGS (O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC)

int open_node(const struct node *n, int flags) {
    if (node_type(n) != S_IFREG && node_type(n) != S_IFDIR)
        return -ENXIO;
    char path[32];
    fd_path(path, node_fd(n));
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Opens the request's node and answers with the handle's number. The kernel keeps its pages as long as size and times stay. */
static int open_as(struct ask *a, int flags) {
    struct fuse_open_out *out = ask_room(a, sizeof *out);
    struct node *n = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!n || !out) {
        int err = n ? -ENOMEM : -errno;
        if (n)
            nodes_unpin(a->tree->nodes, n);
        return err;
    }
    int fd = open_node(n, flags);
    if (fd < 0) {
        nodes_unpin(a->tree->nodes, n);
        return fd;
    }
    out->open_flags = FOPEN_KEEP_CACHE;
    out->fh = handles_add(&a->tree->handles, fd, n);
    return out->fh ? 0 : -errno;
}

int serve_open(struct ask *a) {
    const struct fuse_open_in *in = ask_take(a, sizeof *in);
    if (!in)
        return -EINVAL;
    int flags = (int)in->flags & OPEN_FLAGS;
    if (!a->tree->writes && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
        return -EROFS;
    return open_as(a, flags);
}

int serve_opendir(struct ask *a) {
    return open_as(a, O_RDONLY | O_DIRECTORY);
}

int serve_release(struct ask *a) {
    const struct fuse_release_in *in = ask_take(a, sizeof *in);
    if (!in)
        return -EINVAL;
    handles_release(&a->tree->handles, in->fh);
    return 0;
}

static size_t bounded(uint32_t size) {
    return size < FILES_IO ? size : FILES_IO;
}

int serve_read(struct ask *a) {
    const struct fuse_read_in *in = ask_take(a, sizeof *in);
    struct handle *h = in ? handles_use(&a->tree->handles, in->fh) : NULL;
    if (!h)
        return in ? -errno : -EINVAL;
    size_t size = bounded(in->size);
    void *out = ask_raw(a, size);
    ssize_t n = out ? pread(h->fd, out, size, (off_t)in->offset) : -1;
    int err = out ? errno : ENOMEM;
    handles_done(&a->tree->handles, h);
    if (n < 0)
        return -err;
    ask_made(a, (size_t)n);
    return 0;
}

int serve_lseek(struct ask *a) {
    const struct fuse_lseek_in *in = ask_take(a, sizeof *in);
    if (!in || (in->whence != SEEK_DATA && in->whence != SEEK_HOLE))
        return -EINVAL;
    struct fuse_lseek_out *out = ask_room(a, sizeof *out);
    struct handle *h = handles_use(&a->tree->handles, in->fh);
    if (!h || !out) {
        int err = h ? -ENOMEM : -errno;
        if (h)
            handles_done(&a->tree->handles, h);
        return err;
    }
    off_t at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
    int err = errno;
    handles_done(&a->tree->handles, h);
    out->offset = (uint64_t)at;
    return at < 0 ? -err : 0;
}
