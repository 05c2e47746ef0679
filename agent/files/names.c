/* Names that are made, moved and taken away in the target's folders; serve.c lets nobody here whose session may not. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int done(long result) {
    return result < 0 ? -errno : 0;
}

/* Makes `name` in the request's folder by `make`, and tells of it as LOOKUP does. */
static int make(struct ask *a, const char *name,
                int (*deed)(int folder, const char *name, const void *how), const void *how) {
    struct fuse_entry_out *out = ask_room(a, sizeof *out);
    struct node *parent = out ? nodes_pin(a->tree->nodes, a->head->nodeid) : NULL;
    if (!parent)
        return out ? -errno : -ENOMEM;
    int err = done(deed(node_fd(parent), name, how));
    if (!err)
        err = look_up(a->tree, parent, name, true, out);
    nodes_unpin(a->tree->nodes, parent);
    return err;
}

static int make_folder(int folder, const char *name, const void *mode) {
    return mkdirat(folder, name, *(const mode_t *)mode);
}

int serve_mkdir(struct ask *a) {
    const struct fuse_mkdir_in *in = ask_take(a, sizeof *in);
    const char *name;
    int err = in ? ask_name(a, &name) : -EINVAL;
    mode_t mode = in ? in->mode & 07777 : 0;
    return err ? err : make(a, name, make_folder, &mode);
}

static int make_symlink(int folder, const char *name, const void *text) {
    return symlinkat(text, folder, name);
}

int serve_symlink(struct ask *a) {
    const char *name, *text;
    int err = ask_name(a, &name);
    if (!err)
        err = ask_text(a, &text);
    return err ? err : make(a, name, make_symlink, text);
}

static int make_link(int folder, const char *name, const void *from) {
    char path[32];
    fd_path(path, node_fd(from));
    return linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW);
}

int serve_link(struct ask *a) {
    const struct fuse_link_in *in = ask_take(a, sizeof *in);
    const char *name;
    int err = in ? ask_name(a, &name) : -EINVAL;
    if (err)
        return err;
    struct node *from = nodes_pin(a->tree->nodes, in->oldnodeid);
    if (!from)
        return -errno;
    err = make(a, name, make_link, from);
    nodes_unpin(a->tree->nodes, from);
    return err;
}

static int take_away(struct ask *a, int flags) {
    const char *name;
    int err = ask_name(a, &name);
    if (err)
        return err;
    struct node *parent = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!parent)
        return -errno;
    err = done(unlinkat(node_fd(parent), name, flags));
    nodes_unpin(a->tree->nodes, parent);
    return err;
}

int serve_unlink(struct ask *a) {
    return take_away(a, 0);
}

int serve_rmdir(struct ask *a) {
    return take_away(a, AT_REMOVEDIR);
}

static int rename_to(struct ask *a, uint64_t folder, unsigned flags) {
    const char *from, *to;
    int err = ask_name(a, &from);
    if (!err)
        err = ask_name(a, &to);
    if (err)
        return err;
    struct nodes *nodes = a->tree->nodes;
    struct node *old = nodes_pin(nodes, a->head->nodeid),
                *new = old ? nodes_pin(nodes, folder) : NULL;
    err = new ? done(renameat2(node_fd(old), from, node_fd(new), to, flags)) : -errno;
    if (!err)
        nodes_renamed(nodes, new, to);
    if (!err && flags & RENAME_EXCHANGE)
        nodes_renamed(nodes, old, from);
    if (new)
        nodes_unpin(nodes, new);
    if (old)
        nodes_unpin(nodes, old);
    return err;
}

int serve_rename(struct ask *a) {
    const struct fuse_rename_in *in = ask_take(a, sizeof *in);
    return in ? rename_to(a, in->newdir, 0) : -EINVAL;
}

/* Without RENAME_WHITEOUT, which makes a device. */
int serve_rename2(struct ask *a) {
    const struct fuse_rename2_in *in = ask_take(a, sizeof *in);
    if (!in || in->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE))
        return -EINVAL;
    return rename_to(a, in->newdir, in->flags);
}
