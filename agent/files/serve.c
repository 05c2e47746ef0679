#include "agent/files/serve.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { READS = 0, WRITES = 1, NO_ANSWER = 1 };

/* --- a request's parts -------------------------------------------------------------------------------------------------- */

const void *ask_take(struct ask *a, size_t n) {
    if (n > a->left)
        return NULL;
    const void *at = a->body;
    a->body += n;
    a->left -= n;
    return at;
}

int ask_text(struct ask *a, const char **text) {
    const char *at = (const char *)a->body;
    size_t n = strnlen(at, a->left);
    if (n == a->left)
        return -EINVAL;
    if (n >= PATH_MAX)
        return -ENAMETOOLONG;
    *text = ask_take(a, n + 1);
    return n > 0 ? 0 : -EINVAL;
}

int ask_name(struct ask *a, const char **name) {
    int err = ask_text(a, name);
    if (err)
        return err;
    if (strlen(*name) > NAME_MAX)
        return -ENAMETOOLONG;
    if (strchr(*name, '/') || strcmp(*name, ".") == 0 || strcmp(*name, "..") == 0)
        return -EINVAL;
    return 0;
}

void *ask_raw(struct ask *a, size_t n) {
    a->answer = spares_take(&a->tree->spares, sizeof(struct fuse_out_header) + n);
    if (!a->answer)
        return NULL;
    a->made = n;
    return a->answer->data + sizeof(struct fuse_out_header);
}

void *ask_room(struct ask *a, size_t n) {
    void *room = ask_raw(a, n);
    return room ? memset(room, 0, n) : NULL;
}

void ask_made(struct ask *a, size_t n) {
    a->made = n;
}

/* --- who is shown as whom ----------------------------------------------------------------------------------------------- */

uint32_t uid_within(const struct tree *t, uint32_t shown) {
    return shown == t->shown_uid ? t->uid : shown;
}

uint32_t gid_within(const struct tree *t, uint32_t shown) {
    return shown == t->shown_gid ? t->gid : shown;
}

void attr_of(const struct tree *t, const struct statx *st, struct fuse_attr *out) {
    *out = (struct fuse_attr){
        .ino = st->stx_ino,
        .size = st->stx_size,
        .blocks = st->stx_blocks,
        .atime = (uint64_t)st->stx_atime.tv_sec,
        .mtime = (uint64_t)st->stx_mtime.tv_sec,
        .ctime = (uint64_t)st->stx_ctime.tv_sec,
        .atimensec = st->stx_atime.tv_nsec,
        .mtimensec = st->stx_mtime.tv_nsec,
        .ctimensec = st->stx_ctime.tv_nsec,
        .mode = st->stx_mode,
        .nlink = st->stx_nlink,
        .uid = st->stx_uid == t->uid ? t->shown_uid : st->stx_uid,
        .gid = st->stx_gid == t->gid ? t->shown_gid : st->stx_gid,
        .rdev = (st->stx_rdev_minor & 0xff) | st->stx_rdev_major << 8 |
                (st->stx_rdev_minor & ~0xffu) << 12, /* the kernel's new_encode_dev */
        .blksize = st->stx_blksize,
    };
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

static int nothing(struct ask *a) {
    (void)a;
    return 0;
}

static int forget(struct ask *a) {
    const struct fuse_forget_in *in = ask_take(a, sizeof *in);
    if (in)
        nodes_forget(a->tree->nodes, a->head->nodeid, in->nlookup);
    return NO_ANSWER;
}

static int batch_forget(struct ask *a) {
    const struct fuse_batch_forget_in *in = ask_take(a, sizeof *in);
    for (uint32_t i = 0; in && i < in->count; i++) {
        const struct fuse_forget_one *one = ask_take(a, sizeof *one);
        if (!one)
            break;
        nodes_forget(a->tree->nodes, one->nodeid, one->nlookup);
    }
    return NO_ANSWER;
}

struct deed {
    int (*serve)(struct ask *a);
    int writes;
};

/* What is not here is ENOSYS, after which most kernels do not ask again: POLL, IOCTL, locks (each app's kernel has its own),
 * FLUSH (so a close costs nothing; what a network's disk says only at a close is not heard), COPY_FILE_RANGE, MKNOD (regular
 * files come by CREATE; others are not made). */
static const struct deed deeds[] = {
    [FUSE_LOOKUP] = {serve_lookup, READS},
    [FUSE_FORGET] = {forget, READS},
    [FUSE_GETATTR] = {serve_getattr, READS},
    [FUSE_SETATTR] = {serve_setattr, WRITES},
    [FUSE_READLINK] = {serve_readlink, READS},
    [FUSE_SYMLINK] = {serve_symlink, WRITES},
    [FUSE_MKDIR] = {serve_mkdir, WRITES},
    [FUSE_UNLINK] = {serve_unlink, WRITES},
    [FUSE_RMDIR] = {serve_rmdir, WRITES},
    [FUSE_RENAME] = {serve_rename, WRITES},
    [FUSE_LINK] = {serve_link, WRITES},
    [FUSE_OPEN] = {serve_open, READS},
    [FUSE_READ] = {serve_read, READS},
    [FUSE_WRITE] = {serve_write, WRITES},
    [FUSE_STATFS] = {serve_statfs, READS},
    [FUSE_RELEASE] = {serve_release, READS},
    [FUSE_FSYNC] = {serve_fsync, READS},
    [FUSE_SETXATTR] = {serve_setxattr, WRITES},
    [FUSE_GETXATTR] = {serve_getxattr, READS},
    [FUSE_LISTXATTR] = {serve_listxattr, READS},
    [FUSE_REMOVEXATTR] = {serve_removexattr, WRITES},
    [FUSE_OPENDIR] = {serve_opendir, READS},
    [FUSE_READDIR] = {serve_readdir, READS},
    [FUSE_RELEASEDIR] = {serve_release, READS},
    [FUSE_FSYNCDIR] = {nothing, READS},
    [FUSE_ACCESS] = {serve_access, READS},
    [FUSE_CREATE] = {serve_create, WRITES},
    [FUSE_BATCH_FORGET] = {batch_forget, READS},
    [FUSE_FALLOCATE] = {serve_fallocate, WRITES},
    [FUSE_READDIRPLUS] = {serve_readdirplus, READS},
    [FUSE_RENAME2] = {serve_rename2, WRITES},
    [FUSE_LSEEK] = {serve_lseek, READS},
};

static const struct deed walk = {serve_walk, READS};
static const struct deed connection = {serve_connect, READS};

static const struct deed *deed_for(uint32_t opcode) {
    if (opcode == FILES_WALK)
        return &walk;
    if (opcode == FILES_CONNECT)
        return &connection;
    if (opcode >= sizeof deeds / sizeof *deeds || !deeds[opcode].serve)
        return NULL;
    return &deeds[opcode];
}

bool serve_changes(uint32_t opcode) {
    const struct deed *d = deed_for(opcode);
    return d && d->writes;
}

static int run(struct ask *a) {
    const struct deed *d = deed_for(a->head->opcode);
    if (!d)
        return -ENOSYS;
    return d->writes && !a->tree->writes ? -EROFS : d->serve(a);
}

struct message *serve_as(struct tree *t, const struct fuse_in_header *head, const void *body,
                         size_t n) {
    struct ask a = {.tree = t, .head = head, .body = body, .left = n};
    int result = run(&a);
    if (result == NO_ANSWER)
        return NULL;
    if (result < 0 || !a.answer) {
        if (a.answer)
            spares_give(&t->spares, a.answer);
        a.answer = message_new(sizeof(struct fuse_out_header));
        a.made = 0;
    }
    if (!a.answer)
        return NULL;
    a.answer->len = (uint32_t)(sizeof(struct fuse_out_header) + a.made);
    *(struct fuse_out_header *)a.answer->data = (struct fuse_out_header){
        .len = a.answer->len, .error = result < 0 ? result : 0, .unique = head->unique};
    return a.answer;
}

struct message *serve(struct tree *t, const struct message *request) {
    const struct fuse_in_header *head = (const void *)request->data;
    return serve_as(t, head, request->data + sizeof *head, request->len - sizeof *head);
}
