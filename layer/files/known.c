/* What the kernel asks, on the thread that reads it: answered at once if it is known here, else handed to the loop's thread. */
#include "layer/files/inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* Of a folder that came with its first entries: they are its handle's from now on. */
static struct message *open_folder(struct filesystem *fs, struct message *m) {
    struct message *known = ahead_answer(&fs->ahead, m);
    const struct fuse_out_header *head = known ? (const void *)known->data : NULL;
    struct message *page =
        known && !head->error ? ahead_page(&fs->ahead, asked_head(m)->nodeid) : NULL;
    if (page)
        pages_keep(&fs->pages, page, ((const struct fuse_open_out *)(head + 1))->fh, FILES_AHEAD);
    return known;
}

/* Of a folder under way: the target's, and what the app has made behind them. */
static struct message *entries(struct filesystem *fs, struct message *m) {
    const struct fuse_in_header *head = asked_head(m);
    const struct fuse_read_in *in = (const void *)(head + 1);
    struct message *known = made_answer(&fs->made, m);
    if (known)
        return known;
    known = pages_answer(&fs->pages, m, &m->error);
    return made_behind(&fs->made, known, in->fh, in->size, head->opcode == FUSE_READDIRPLUS);
}

/* What is known already, or NULL; and what is not known any more. */
static struct message *at_hand(struct filesystem *fs, struct message *m) {
    const struct fuse_in_header *head = asked_head(m);
    const void *body = head + 1;
    switch (head->opcode) {
    case FUSE_LOOKUP:
        if (head->nodeid == FUSE_ROOT_ID)
            tops_told(&fs->tops, body); /* the kernel's own string, a NUL at its end */
        return ahead_answer(&fs->ahead, m);
    case FUSE_READLINK:
    case FUSE_OPEN:
    case FUSE_READ:
        return ahead_answer(&fs->ahead, m);
    case FUSE_WRITE:
    case FUSE_SETATTR:
    case FUSE_FALLOCATE:
        ahead_stale(&fs->ahead, head->nodeid);
        runs_stale(&fs->runs, head->nodeid);
        return NULL;
    case FUSE_RELEASE:
        runs_released(&fs->runs, ((const struct fuse_release_in *)body)->fh);
        return NULL;
    case FUSE_OPENDIR:
        return open_folder(fs, m);
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
        return entries(fs, m);
    case FUSE_RELEASEDIR:
        made_released(&fs->made, ((const struct fuse_release_in *)body)->fh);
        pages_released(&fs->pages, ((const struct fuse_release_in *)body)->fh);
        return NULL;
    default:
        return NULL;
    }
}

/* What is the same for every file, whatever the agent would say; 0: it is not. After ENOSYS the kernel does not ask again. */
static int settled(uint32_t opcode) {
    switch (opcode) {
    case FUSE_IOCTL:
        return -ENOTTY; /* isatty(), by which many programs begin, would be a round trip */
    case FUSE_FLUSH: /* a close costs nothing then; what a network's disk says only at a close is not heard */
    case FUSE_POLL:
    case FUSE_COPY_FILE_RANGE:
        return -ENOSYS;
    default:
        return 0;
    }
}

/* An answer that is on its way to the kernel. */
void known_count(struct filesystem *fs, uint32_t opcode, uint64_t node, const struct message *m) {
    const struct fuse_out_header *head = (const void *)m->data;
    if (head->error)
        return;
    if (opcode == FUSE_OPEN)
        reads_opened(&fs->reads, node);
    if (opcode == FUSE_READ)
        reads_got(&fs->reads, m->len - sizeof *head);
}

/* An answer cut from what came ahead. */
void known_give(struct filesystem *fs, const struct runs_answer *a, bool here) {
    uint64_t octets = 0;
    for (uint32_t i = 0; i < a->count; i++)
        octets += a->parts[i].len;
    reads_got(&fs->reads, octets);
    kernel_cut(&fs->kernel, a->unique, a->parts, a->count, here);
}

/* Whether the READ needs nothing more of the caller; answered, or taken until its answer is here. */
static bool in_a_run(struct filesystem *fs, struct message *m) {
    struct runs_answer answer;
    struct messages wishes;
    messages_init(&wishes);
    enum runs_result result = runs_ask(&fs->runs, m, &answer, &wishes);
    for (struct message *w; (w = messages_take(&wishes));)
        filesystem_post(fs, w);
    if (result != RUNS_HERE)
        return result == RUNS_WAITS;
    atomic_fetch_add(&fs->from_ahead, 1);
    free(m);
    known_give(fs, &answer, true);
    return true;
}

struct message *known_read(struct runs *r, uint64_t node, const struct fuse_read_in *in) {
    struct filesystem *fs = container_of(r, struct filesystem, runs);
    struct message *m = filesystem_own(fs, FUSE_READ, node, sizeof *in);
    if (m)
        memcpy(m->data + sizeof(struct fuse_in_header), in, sizeof *in);
    return m;
}

/* A door's thread says of which handle it is about to list more. */
static bool claimed(struct filesystem *fs, const struct message *m) {
    const struct fuse_in_header *head = asked_head(m);
    const struct fuse_ioctl_in *in = (const void *)(head + 1);
    struct fuse_ioctl_out done = {0};
    if (head->opcode != FUSE_IOCTL || m->len < sizeof *head + sizeof *in || in->cmd != MADE_CALL ||
        !made_claim(&fs->made, (pid_t)head->pid, in->fh))
        return false;
    struct message *answer = message_new(sizeof(struct fuse_out_header) + sizeof done);
    if (!answer)
        return false;
    *(struct fuse_out_header *)answer->data =
        (struct fuse_out_header){.len = answer->len, .unique = head->unique};
    memcpy(answer->data + sizeof(struct fuse_out_header), &done, sizeof done);
    kernel_answer(&fs->kernel, answer);
    return true;
}

/* A RELEASE of what was opened to be read, which nobody at the target waits for either: it goes with what is asked next, as that of
 * one small file with the next one's WALK, or a moment later. */
static bool is_in_no_hurry(const struct message *m) {
    const struct fuse_in_header *head = asked_head(m);
    const struct fuse_release_in *in = (const void *)(head + 1);
    return head->opcode == FUSE_RELEASEDIR ||
           (head->opcode == FUSE_RELEASE && m->len >= sizeof *head + sizeof *in &&
            (in->flags & O_ACCMODE) == O_RDONLY);
}

static bool post_when_due(struct filesystem *fs, struct message *m) {
    if (!is_in_no_hurry(m))
        return filesystem_post(fs, m);
    kernel_later(&fs->kernel);
    return filesystem_post_later(fs, m);
}

void known_idle(struct kernel *k) {
    post_tell(&container_of(k, struct filesystem, kernel)->post);
}

void known_ask(struct kernel *k, struct message *m) {
    struct filesystem *fs = container_of(k, struct filesystem, kernel);
    uint64_t unique = asked_head(m)->unique;
    bool awaits = kernel_awaits(asked_head(m)->opcode);
    if (claimed(fs, m)) {
        free(m);
        return;
    }
    int error = settled(asked_head(m)->opcode);
    if (error) {
        free(m);
        kernel_error(k, unique, error);
        return;
    }
    struct message *known = at_hand(fs, m);
    if (!known && asked_head(m)->opcode == FUSE_READ && in_a_run(fs, m))
        return;
    if (known) {
        atomic_fetch_add(&fs->from_ahead, 1);
        known_count(fs, asked_head(m)->opcode, asked_head(m)->nodeid, known);
        free(m);
        kernel_answer(k, known);
    } else if (!post_when_due(fs, m) && awaits) {
        kernel_error(k, unique, -ENOTCONN);
    }
}
