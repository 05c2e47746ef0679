/* What is asked of a name or an inode without opening it. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* linux/magic.h, and those that it lacks: what the kernel says and does by files, and files that wait for somebody. */
static const uint32_t not_served[] = {
    0x9fa0 /* proc */,           0x62656572 /* sysfs */,      0x27e0eb /* cgroup */,
    0x63677270 /* cgroup2 */,    0x64626720 /* debugfs */,    0x74726163 /* tracefs */,
    0x73636673 /* securityfs */, 0x1cd1 /* devpts */,         0xcafe4a11 /* bpf */,
    0x6165676c /* pstore */,     0xde5e81e4 /* efivarfs */,   0x19800202 /* mqueue */,
    0x62656570 /* configfs */,   0x65735543 /* fusectl */,    0xf97cff8c /* selinux */,
    0x6e736673 /* nsfs */,       0x0187 /* autofs */,         0x42494e4d /* binfmt_misc */,
    0x43415d53 /* smack */,      0x67596969 /* rpc_pipefs */, 0x6e667364 /* nfsd */,
};

int served_here(int fd) {
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return -errno;
    for (size_t i = 0; i < sizeof not_served / sizeof *not_served; i++)
        if ((uint32_t)st.f_type == not_served[i])
            return -EACCES;
    return 0;
}

void fd_path(char out[32], int fd) {
    snprintf(out, 32, "/proc/self/fd/%d", fd);
}

static bool crosses(const struct node *parent, const struct statx *st) {
    return node_device(parent) != makedev(st->stx_dev_major, st->stx_dev_minor);
}

int look_up(struct tree *t, struct node *parent, const char *name, bool across,
            struct fuse_entry_out *out) {
    struct statx st;
    int fd, err = nodes_look(parent, name, across, &fd, &st);
    if (err)
        return err;
    if (crosses(parent, &st) && (err = served_here(fd)) < 0) {
        close(fd);
        return err;
    }
    *out = (struct fuse_entry_out){
        .generation = node_generation(&st), .entry_valid = FILES_VALID, .attr_valid = FILES_VALID};
    out->nodeid = nodes_told(t->nodes, parent, name, fd, &st);
    attr_of(t, &st, &out->attr);
    return out->nodeid ? 0 : -errno;
}

int serve_lookup(struct ask *a) {
    const char *name;
    int err = ask_name(a, &name);
    if (err)
        return err;
    struct fuse_entry_out *out = ask_room(a, sizeof *out);
    struct node *parent = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!out || !parent)
        err = parent ? -ENOMEM : -errno;
    else
        err = look_up(a->tree, parent, name, true, out);
    if (parent)
        nodes_unpin(a->tree->nodes, parent);
    if (err == -ENOENT && out) { /* which may be kept for as long as that there is one */
        *out = (struct fuse_entry_out){.entry_valid = FILES_VALID};
        err = 0;
    }
    return err;
}

/* --- of an inode -------------------------------------------------------------------------------------------------------- */

/* The node of the request, pinned, and a function on its descriptor. */
static int with_node(struct ask *a, int (*act)(struct ask *a, const struct node *n)) {
    struct node *n = nodes_pin(a->tree->nodes, a->head->nodeid);
    if (!n)
        return -errno;
    int err = act(a, n);
    nodes_unpin(a->tree->nodes, n);
    return err;
}

static int getattr(struct ask *a, const struct node *n) {
    struct statx st;
    struct fuse_attr_out *out = ask_room(a, sizeof *out);
    if (!out)
        return -ENOMEM;
    if (statx(node_fd(n), "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &st) < 0)
        return -errno;
    out->attr_valid = FILES_VALID;
    attr_of(a->tree, &st, &out->attr);
    return 0;
}

int serve_getattr(struct ask *a) {
    return with_node(a, getattr);
}

static int link_text(struct ask *a, const struct node *n) {
    char *out = ask_room(a, PATH_MAX);
    if (!out)
        return -ENOMEM;
    ssize_t len = readlinkat(node_fd(n), "", out, PATH_MAX);
    if (len < 0)
        return errno == ENOENT ? -EINVAL
                               : -errno; /* readlink(2): ENOENT says that it is no symlink */
    ask_made(a, (size_t)len);
    return 0;
}

int serve_readlink(struct ask *a) {
    return with_node(a, link_text);
}

static int statfs_node(struct ask *a, const struct node *n) {
    struct statfs st;
    struct fuse_statfs_out *out = ask_room(a, sizeof *out);
    if (!out)
        return -ENOMEM;
    if (fstatfs(node_fd(n), &st) < 0)
        return -errno;
    out->st = (struct fuse_kstatfs){.blocks = (uint64_t)st.f_blocks,
                                    .bfree = (uint64_t)st.f_bfree,
                                    .bavail = (uint64_t)st.f_bavail,
                                    .files = (uint64_t)st.f_files,
                                    .ffree = (uint64_t)st.f_ffree,
                                    .bsize = (uint32_t)st.f_bsize,
                                    .namelen = (uint32_t)st.f_namelen,
                                    .frsize = (uint32_t)st.f_frsize};
    return 0;
}

int serve_statfs(struct ask *a) {
    return with_node(a, statfs_node);
}

static int may(struct ask *a, const struct node *n) {
    const struct fuse_access_in *in = ask_take(a, sizeof *in);
    if (!in || in->mask > 7)
        return -EINVAL;
    if (in->mask & W_OK && !a->tree->writes)
        return -EROFS;
    /* By the effective user: the file thread's real one is the agent's. */
    long done = syscall(SYS_faccessat2, node_fd(n), "", (int)in->mask, AT_EMPTY_PATH | AT_EACCESS);
    return done < 0 ? -errno : 0;
}

int serve_access(struct ask *a) {
    return with_node(a, may);
}

/* --- extended attributes ------------------------------------------------------------------------------------------------ */

/* `name` NULL: the list of names. As getxattr(2): with size 0, how long it is. */
static int xattr(struct ask *a, const struct node *n, const char *name, uint32_t size) {
    char path[32];
    fd_path(path, node_fd(n));
    if (size > XATTR_SIZE_MAX)
        size = XATTR_SIZE_MAX;
    char *out = ask_room(a, size ? size : sizeof(struct fuse_getxattr_out));
    if (!out)
        return -ENOMEM;
    ssize_t len = name ? getxattr(path, name, size ? out : NULL, size)
                       : listxattr(path, size ? out : NULL, size);
    if (len < 0)
        return -errno;
    if (size == 0)
        ((struct fuse_getxattr_out *)(void *)out)->size = (uint32_t)len;
    else
        ask_made(a, (size_t)len);
    return 0;
}

static int get_xattr(struct ask *a, const struct node *n) {
    const struct fuse_getxattr_in *in = ask_take(a, sizeof *in);
    const char *name;
    int err = in ? ask_text(a, &name) : -EINVAL;
    return err ? err : xattr(a, n, name, in->size);
}

static int list_xattr(struct ask *a, const struct node *n) {
    const struct fuse_getxattr_in *in = ask_take(a, sizeof *in);
    return in ? xattr(a, n, NULL, in->size) : -EINVAL;
}

int serve_getxattr(struct ask *a) {
    return with_node(a, get_xattr);
}

int serve_listxattr(struct ask *a) {
    return with_node(a, list_xattr);
}
