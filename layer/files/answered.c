/* Answers of the agent's: each finds who asked, the kernel or one of us, or nobody any more. The loop's thread alone. */
#include "layer/files/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct fuse_out_header *answer_head(struct message *m) {
    return (void *)m->data;
}

/* So that the kernel ends the request whatever the agent said: errors that are none are EIO, and have no body. */
static void make_sound(struct message *m) {
    struct fuse_out_header *head = answer_head(m);
    if (head->error > 0 || head->error <= -512)
        head->error = -EIO;
    if (head->error)
        m->len = sizeof *head;
    head->len = m->len;
}

/* Of a request that was given up: what it counted or opened at the agent is given back. */
static void undo(struct filesystem *fs, const struct asked *a, const struct message *m) {
    const void *body = m->data + sizeof(struct fuse_out_header);
    size_t n = m->len - sizeof(struct fuse_out_header);
    if (a->opcode == FUSE_LOOKUP && n == sizeof(struct fuse_entry_out)) {
        const struct fuse_entry_out *entry = body;
        if (entry->nodeid)
            filesystem_forget(fs, entry->nodeid);
    } else if ((a->opcode == FUSE_OPEN || a->opcode == FUSE_OPENDIR) &&
               n == sizeof(struct fuse_open_out)) {
        filesystem_release(fs, a->node, ((const struct fuse_open_out *)body)->fh);
    }
}

static void to_kernel(struct filesystem *fs, const struct asked *a, struct message *m) {
    uint64_t unique = a->unique;
    known_count(fs, a->opcode, a->node, m);
    if (a->opcode == FUSE_READDIR || a->opcode == FUSE_READDIRPLUS) {
        bool plus = a->opcode == FUSE_READDIRPLUS;
        m = pages_cut(&fs->pages, m, a->handle, a->size, plus);
        m = made_behind(&fs->made, m, a->handle, a->size, plus);
    }
    if (m)
        kernel_answer(&fs->kernel, m);
    else
        kernel_error(&fs->kernel, unique, -ENOMEM);
}

static void came_ahead(struct filesystem *fs, const struct asked *a, struct message *m) {
    struct runs_answer answer;
    struct messages back;
    messages_init(&back);
    runs_came(&fs->runs, a->unique, m, &back);
    while (runs_next(&fs->runs, &answer))
        known_give(fs, &answer, false);
    for (struct message *w; (w = messages_take(&back));)
        asking_put(fs, w);
}

static void connection_made(struct filesystem *fs, struct walk *w, const struct message *m) {
    const struct fuse_out_header *head = (const void *)m->data;
    struct files_connected made;
    w->error = head->error ? head->error : -EIO;
    if (!head->error && m->len == sizeof *head + sizeof made) {
        memcpy(&made, head + 1, sizeof made);
        w->handle = made.handle;
        w->error = 0;
    }
    walk_done(fs, w);
}

static void to_us(struct filesystem *fs, const struct asked *a, struct message *m) {
    size_t head = sizeof(struct fuse_out_header);
    if (a->opcode == FUSE_READ) {
        came_ahead(fs, a, m);
        return;
    }
    if (a->opcode == FILES_HELLO && answer_head(m)->error)
        stream_end(&fs->stream, EPROTO);
    if (a->opcode == FILES_CONNECT) {
        connection_made(fs, a->walk, m);
    } else if (a->walk) {
        ahead_add(&fs->ahead, a->walk->number, m->data + head, m->len - head);
        walk_done(fs, a->walk);
    }
    free(m);
}

void answered_got(struct stream *s, struct message *m) {
    struct filesystem *fs = container_of(s, struct filesystem, stream);
    stream_granted(s, m->len); /* what is held is bounded by what was asked for */
    struct asked *a = asks_take(&fs->asks, answer_head(m)->unique);
    if (!a) {
        free(m);
        stream_end(s, EPROTO);
        return;
    }
    make_sound(m);
    if (a->dropped) {
        undo(fs, a, m);
        free(m);
    } else if (asked_is_own(a->unique)) {
        to_us(fs, a, m);
    } else {
        to_kernel(fs, a, m);
    }
    free(a);
}
