#include "layer/files/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct message *filesystem_own(struct filesystem *fs, uint32_t opcode, uint64_t node, size_t body) {
    struct message *m = message_new(sizeof(struct fuse_in_header) + body);
    if (!m)
        return NULL;
    struct fuse_in_header *head = (void *)m->data;
    memset(head, 0, m->len);
    *head = (struct fuse_in_header){.len = m->len,
                                    .opcode = opcode,
                                    .unique = FILESYSTEM_OWN | atomic_fetch_add(&fs->own, 2),
                                    .nodeid = node};
    return m;
}

void filesystem_forget(struct filesystem *fs, uint64_t node) {
    struct message *m = filesystem_own(fs, FUSE_FORGET, node, sizeof(struct fuse_forget_in));
    if (!m)
        return; /* the agent remembers it for as long as the channel lives */
    ((struct fuse_forget_in *)(m->data + sizeof(struct fuse_in_header)))->nlookup = 1;
    filesystem_post(fs, m);
}

void filesystem_release(struct filesystem *fs, uint64_t node, uint64_t handle) {
    struct message *m = filesystem_own(fs, FUSE_RELEASE, node, sizeof(struct fuse_release_in));
    if (!m)
        return;
    ((struct fuse_release_in *)(m->data + sizeof(struct fuse_in_header)))->fh = handle;
    filesystem_post(fs, m);
}

void walk_done(struct filesystem *fs, struct walk *w) {
    pthread_mutex_lock(&fs->lock);
    w->done = true;
    pthread_cond_broadcast(&fs->walked);
    pthread_mutex_unlock(&fs->lock);
}

/* False: there was nobody to ask. */
static bool answered(struct filesystem *fs, struct message *m, struct walk *w) {
    m->owner = w;
    if (!filesystem_post(fs, m))
        return false;
    pthread_mutex_lock(&fs->lock);
    while (!w->done)
        pthread_cond_wait(&fs->walked, &fs->lock);
    pthread_mutex_unlock(&fs->lock);
    return true;
}

uint64_t walk_ahead(struct filesystem *fs, const char *path, bool open, int flags, bool no_follow) {
    size_t n = strlen(path) + 1;
    struct message *m = filesystem_own(fs, FILES_WALK, FUSE_ROOT_ID, sizeof(struct files_walk) + n);
    if (!m)
        return 0;
    struct fuse_in_header *head = (void *)m->data;
    struct files_walk in = {.open = open ? 2 : 0,
                            .flags = (uint32_t)flags,
                            .size = FILES_AHEAD,
                            .no_follow = no_follow};
    memcpy(head + 1, &in, sizeof in);
    memcpy((uint8_t *)(head + 1) + sizeof in, path, n);
    struct walk w = {.number = head->unique};
    return answered(fs, m, &w) ? w.number : 0;
}

int walk_connect(struct filesystem *fs, const char *path, int type, uint64_t *handle) {
    size_t n = strlen(path) + 1;
    uint32_t kind = (uint32_t)type;
    bool stream = type == SOCK_STREAM; /* is not said: agents knew nothing else */
    struct message *m =
        filesystem_own(fs, FILES_CONNECT, FUSE_ROOT_ID, n + (stream ? 0 : sizeof kind));
    if (!m)
        return -ENOMEM;
    struct fuse_in_header *head = (void *)m->data;
    memcpy(head + 1, path, n);
    if (!stream)
        memcpy((uint8_t *)(head + 1) + n, &kind, sizeof kind);
    struct walk w = {.number = head->unique};
    if (!answered(fs, m, &w))
        return -EIO;
    *handle = w.handle;
    return w.error;
}

bool walk_content(struct filesystem *fs, uint64_t walk) {
    uint64_t node = walk ? ahead_content(&fs->ahead, walk) : 0;
    return node && reads_is_new(&fs->reads, node);
}

void walk_store(struct filesystem *fs, uint64_t walk) {
    struct ahead_answer *one = ahead_take_content(&fs->ahead, walk);
    if (!one)
        return;
    if (kernel_store(&fs->kernel, one->node, one->octets, one->len))
        reads_got(&fs->reads, one->len);
    free(one);
}

/* Names that are given back, as many in one message as an answer to WALK has. */
struct forgotten {
    struct filesystem *fs;
    uint32_t count;
    struct fuse_forget_one all[64];
};

static void forget_all(struct forgotten *f) {
    size_t n = f->count * sizeof *f->all;
    struct fuse_batch_forget_in in = {.count = f->count};
    struct message *m =
        n ? filesystem_own(f->fs, FUSE_BATCH_FORGET, FUSE_ROOT_ID, sizeof in + n) : NULL;
    f->count = 0;
    if (!m)
        return; /* the agent remembers them for as long as the channel lives */
    memcpy(m->data + sizeof(struct fuse_in_header), &in, sizeof in);
    memcpy(m->data + sizeof(struct fuse_in_header) + sizeof in, f->all, n);
    filesystem_post_later(f->fs, m); /* the next walk's takes it along */
}

static void forget(struct forgotten *f, uint64_t node) {
    if (!node)
        return;
    f->all[f->count++] = (struct fuse_forget_one){.nodeid = node, .nlookup = 1};
    if (f->count == sizeof f->all / sizeof *f->all)
        forget_all(f);
}

static void give_back(void *ctx, const struct ahead_answer *one) {
    struct forgotten *f = ctx;
    if (one->opcode == FUSE_LOOKUP) {
        struct fuse_entry_out entry;
        memcpy(&entry, one->octets + one->name_len, sizeof entry);
        forget(f, entry.nodeid);
    } else if (one->opcode == FUSE_READDIRPLUS) {
        pages_forget(&f->fs->pages, one->octets, one->len);
    } else if (one->opcode == FUSE_OPEN || one->opcode == FUSE_OPENDIR) {
        struct fuse_open_out open;
        memcpy(&open, one->octets, sizeof open);
        filesystem_release(f->fs, one->node, open.fh);
    }
}

void walk_over(struct filesystem *fs, uint64_t walk) {
    struct forgotten f = {.fs = fs};
    if (walk)
        ahead_drop(&fs->ahead, walk, give_back, &f);
    forget_all(&f);
}

void walk_refresh(struct filesystem *fs) {
    tops_refresh(&fs->tops, fs->device);
}
