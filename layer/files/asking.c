/* Requests on their way to the agent: put through, held while there is no channel, failed when there is none for too long, and
 * given up for who is interrupted. The loop's thread alone. */
#include "layer/files/inner.h"

#include <errno.h>
#include <stdlib.h>

enum { DROPPED = 4096 }; /* asks under way; above it none is given up before its answer is here */

/* Whoever asked is told that it could not be done. Of a request of ours ahead of a run, who waits for it has to ask anew. */
void asking_fail(struct filesystem *fs, uint64_t unique, struct walk *w, int error) {
    struct messages back;
    messages_init(&back);
    if (w) {
        w->error = error;
        walk_done(fs, w);
    } else if (asked_is_own(unique)) {
        runs_came(&fs->runs, unique, NULL, &back);
    } else {
        kernel_error(&fs->kernel, unique, error);
    }
    for (struct message *m; (m = messages_take(&back)); free(m))
        kernel_error(&fs->kernel, asked_head(m)->unique, error);
}

void asking_fail_message(struct filesystem *fs, struct message *m, int error) {
    asking_fail(fs, asked_head(m)->unique, m->owner, error);
    free(m);
}

static uint64_t handle_of(const struct message *m) {
    const struct fuse_read_in *in = (const void *)(asked_head(m) + 1);
    return in->fh;
}

void asking_put(struct filesystem *fs, struct message *m) {
    const struct fuse_in_header *head = asked_head(m);
    struct asked *a = asks_add(&fs->asks, head->unique);
    if (!a) {
        asking_fail_message(fs, m, -ENOMEM);
        return;
    }
    a->opcode = head->opcode;
    a->node = head->nodeid;
    a->walk = m->owner;
    if (head->opcode == FUSE_READDIR || head->opcode == FUSE_READDIRPLUS) {
        a->size = m->error;
        a->handle = handle_of(m);
    }
    atomic_fetch_add(&fs->asked, 1);
    stream_put(&fs->stream, m);
}

static void asking_hold(struct filesystem *fs, struct message *m) {
    if (fs->given_up) {
        asking_fail_message(fs, m, -EIO);
        return;
    }
    if (!fs->held.first)
        timer_set(fs->loop, &fs->patience, loop_now(fs->loop) + FILESYSTEM_PATIENCE);
    messages_put(&fs->held, m);
}

/* --- giving up ---------------------------------------------------------------------------------------------------------- */

/* What changes nothing at the target, so that its answer may be for nobody. */
static bool may_be_dropped(const struct asked *a) {
    switch (a->opcode) {
    case FUSE_LOOKUP:
    case FUSE_GETATTR:
    case FUSE_READLINK:
    case FUSE_OPENDIR:
    case FUSE_OPEN:
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_STATFS:
    case FUSE_ACCESS:
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR:
        return true;
    default:
        return false;
    }
}

static struct message *take_held(struct filesystem *fs, uint64_t unique) {
    struct messages kept;
    struct message *found = NULL;
    messages_init(&kept);
    for (struct message *m; (m = messages_take(&fs->held));)
        if (asked_head(m)->unique == unique)
            found = m;
        else
            messages_put(&kept, m);
    for (struct message *m; (m = messages_take(&kept));)
        messages_put(&fs->held, m);
    return found;
}

/* A signal for who waits. The kernel lets nobody go, not even who is killed, before there is an answer. */
static void interrupted(struct filesystem *fs, struct message *m) {
    const struct fuse_interrupt_in *in = (const void *)(asked_head(m) + 1);
    struct message *held = take_held(fs, in->unique);
    struct asked *a = asks_find(&fs->asks, in->unique);
    if (!held)
        held = runs_take_back(&fs->runs, in->unique);
    if (held)
        asking_fail_message(fs, held, -EINTR);
    if (a && !a->dropped && may_be_dropped(a) && fs->asks.count < DROPPED) {
        a->dropped = true;
        kernel_error(&fs->kernel, a->unique, -EINTR);
    }
    if (a && filesystem_is_there(fs))
        stream_put(&fs->stream, m);
    else
        free(m);
}

void asking_patience(struct timer *t) {
    struct filesystem *fs = container_of(t, struct filesystem, patience);
    fs->given_up = true;
    for (struct message *m; (m = messages_take(&fs->held));)
        asking_fail_message(fs, m, -EIO);
}

/* Those who waited for what was asked ahead are told what those who asked themselves are. */
void asking_end_runs(struct filesystem *fs) {
    struct messages waiting;
    messages_init(&waiting);
    runs_clear(&fs->runs, &waiting);
    for (struct message *m; (m = messages_take(&waiting));)
        asking_fail_message(fs, m, -EIO);
}

/* --- requests, on the loop's thread --------------------------------------------------------------------------------------- */

/* There is no channel to ask by: who waits for it waits for a channel, as if nothing had been asked ahead. */
static void not_ahead(struct filesystem *fs, struct message *m) {
    struct messages back;
    messages_init(&back);
    runs_came(&fs->runs, asked_head(m)->unique, NULL, &back);
    for (struct message *w; (w = messages_take(&back));)
        asking_hold(fs, w);
    free(m);
}

void asking_take(struct post *p, struct post_item *item) {
    struct filesystem *fs = container_of(p, struct filesystem, post);
    struct message *m = container_of(item, struct message, post);
    uint32_t opcode = asked_head(m)->opcode;
    if (opcode == FUSE_INTERRUPT)
        interrupted(fs, m);
    else if (!kernel_awaits(opcode))
        stream_put(&fs->stream,
                   m); /* dropped when there is no channel: the agent has forgotten all */
    else if (filesystem_is_there(fs))
        asking_put(fs, m);
    else if (opcode == FUSE_READ && asked_is_own(asked_head(m)->unique))
        not_ahead(fs, m);
    else if (opcode == FUSE_RELEASE || opcode == FUSE_RELEASEDIR || opcode == FILES_WALK)
        asking_fail_message(
            fs, m, 0); /* there is nothing to release; and whoever walked asks again by itself */
    else
        asking_hold(fs, m);
}
