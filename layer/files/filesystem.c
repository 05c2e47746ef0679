#include "layer/files/inner.h"

#include "layer/files/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { DROPPED = 4096 }; /* asks under way; above it none is given up before its answer is here */

#define AGAIN (1000ull * 1000 * 1000) /* ns until a channel that was refused is tried again */

static const struct fuse_in_header *head_of(const struct message *m) {
    return (const void *)m->data;
}

static bool is_own(uint64_t unique) {
    return unique & FILESYSTEM_OWN;
}

/* --- on the kernel's reading thread ------------------------------------------------------------------------------------- */

/* What is known already, or NULL; and what is not known any more. */
static struct message *at_hand(struct filesystem *fs, struct message *m) {
    const struct fuse_in_header *head = head_of(m);
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
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
        return pages_answer(&fs->pages, m, &m->error);
    case FUSE_RELEASEDIR:
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
static void count(struct filesystem *fs, uint32_t opcode, uint64_t node, const struct message *m) {
    const struct fuse_out_header *head = (const void *)m->data;
    if (head->error)
        return;
    if (opcode == FUSE_OPEN)
        reads_opened(&fs->reads, node);
    if (opcode == FUSE_READ)
        reads_got(&fs->reads, m->len - sizeof *head);
}

/* An answer cut from what came ahead. */
static void give(struct filesystem *fs, const struct runs_answer *a, bool here) {
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
    give(fs, &answer, true);
    return true;
}

static struct message *own_read(struct runs *r, uint64_t node, const struct fuse_read_in *in) {
    struct filesystem *fs = container_of(r, struct filesystem, runs);
    struct message *m = filesystem_own(fs, FUSE_READ, node, sizeof *in);
    if (m)
        memcpy(m->data + sizeof(struct fuse_in_header), in, sizeof *in);
    return m;
}

static void on_ask(struct kernel *k, struct message *m) {
    struct filesystem *fs = container_of(k, struct filesystem, kernel);
    uint64_t unique = head_of(m)->unique;
    bool awaits = kernel_awaits(head_of(m)->opcode);
    int error = settled(head_of(m)->opcode);
    if (error) {
        free(m);
        kernel_error(k, unique, error);
        return;
    }
    struct message *known = at_hand(fs, m);
    if (!known && head_of(m)->opcode == FUSE_READ && in_a_run(fs, m))
        return;
    if (known) {
        atomic_fetch_add(&fs->from_ahead, 1);
        count(fs, head_of(m)->opcode, head_of(m)->nodeid, known);
        free(m);
        kernel_answer(k, known);
    } else if (!filesystem_post(fs, m) && awaits) {
        kernel_error(k, unique, -ENOTCONN);
    }
}

bool filesystem_post(struct filesystem *fs, struct message *m) {
    if (post_put(&fs->post, &m->post))
        return true;
    free(m);
    return false;
}

static void on_forget(struct pages *p, uint64_t node) {
    filesystem_forget(container_of(p, struct filesystem, pages), node);
}

/* --- asking ------------------------------------------------------------------------------------------------------------- */

static void walk_done(struct filesystem *fs, struct walk *w) {
    pthread_mutex_lock(&fs->lock);
    w->done = true;
    pthread_cond_broadcast(&fs->walked);
    pthread_mutex_unlock(&fs->lock);
}

/* Whoever asked is told that it could not be done. Of a request of ours ahead of a run, who waits for it has to ask anew. */
static void fail(struct filesystem *fs, uint64_t unique, struct walk *w, int error) {
    struct messages back;
    messages_init(&back);
    if (w) {
        w->error = error;
        walk_done(fs, w);
    } else if (is_own(unique)) {
        runs_came(&fs->runs, unique, NULL, &back);
    } else {
        kernel_error(&fs->kernel, unique, error);
    }
    for (struct message *m; (m = messages_take(&back)); free(m))
        kernel_error(&fs->kernel, head_of(m)->unique, error);
}

static void fail_message(struct filesystem *fs, struct message *m, int error) {
    fail(fs, head_of(m)->unique, m->owner, error);
    free(m);
}

static uint64_t handle_of(const struct message *m) {
    const struct fuse_read_in *in = (const void *)(head_of(m) + 1);
    return in->fh;
}

static void put_through(struct filesystem *fs, struct message *m) {
    const struct fuse_in_header *head = head_of(m);
    struct asked *a = asks_add(&fs->asks, head->unique);
    if (!a) {
        fail_message(fs, m, -ENOMEM);
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

static void hold(struct filesystem *fs, struct message *m) {
    if (fs->given_up) {
        fail_message(fs, m, -EIO);
        return;
    }
    if (!fs->held.first)
        timer_set(fs->loop, &fs->patience, loop_now(fs->loop) + FILESYSTEM_PATIENCE);
    messages_put(&fs->held, m);
}

static bool is_there(const struct filesystem *fs) {
    return channel_attached(&fs->stream.channel);
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
        if (head_of(m)->unique == unique)
            found = m;
        else
            messages_put(&kept, m);
    for (struct message *m; (m = messages_take(&kept));)
        messages_put(&fs->held, m);
    return found;
}

/* A signal for who waits. The kernel lets nobody go, not even who is killed, before there is an answer. */
static void interrupted(struct filesystem *fs, struct message *m) {
    const struct fuse_interrupt_in *in = (const void *)(head_of(m) + 1);
    struct message *held = take_held(fs, in->unique);
    struct asked *a = asks_find(&fs->asks, in->unique);
    if (!held)
        held = runs_take_back(&fs->runs, in->unique);
    if (held)
        fail_message(fs, held, -EINTR);
    if (a && !a->dropped && may_be_dropped(a) && fs->asks.count < DROPPED) {
        a->dropped = true;
        kernel_error(&fs->kernel, a->unique, -EINTR);
    }
    if (a && is_there(fs))
        stream_put(&fs->stream, m);
    else
        free(m);
}

static void on_patience(struct timer *t) {
    struct filesystem *fs = container_of(t, struct filesystem, patience);
    fs->given_up = true;
    for (struct message *m; (m = messages_take(&fs->held));)
        fail_message(fs, m, -EIO);
}

/* --- the channel -------------------------------------------------------------------------------------------------------- */

static void greet(struct filesystem *fs) {
    struct message *m = filesystem_own(fs, FILES_HELLO, 0, sizeof(struct files_hello));
    if (!m) {
        stream_end(&fs->stream, ENOMEM);
        return;
    }
    struct files_hello in = {
        .version = FILES_VERSION, .uid = fs->settings.uid, .gid = fs->settings.gid};
    memcpy(m->data + sizeof(struct fuse_in_header), &in, sizeof in);
    put_through(fs, m);
}

static void open_channel(struct filesystem *fs) {
    if (!fs->mux || is_there(fs))
        return;
    struct channel_open o = {.kind = CHANNEL_FILES,
                             .window = mux_window(fs->mux, FILES_WINDOW),
                             .source = {.addr = {.family = 4}}, /* 0.0.0.0: there is none */
                             .target = fs->target};
    channel_open(fs->mux, &fs->stream.channel, &stream_channel_ops, &o);
    if (!is_there(fs))
        return;
    fs->given_up = false;
    greet(fs);
    timer_cancel(fs->loop, &fs->patience);
    for (struct message *m; is_there(fs) && (m = messages_take(&fs->held));)
        put_through(fs, m);
}

static void on_again(struct timer *t) {
    open_channel(container_of(t, struct filesystem, again));
}

static const char *reason(int err) {
    switch (err) {
    case EACCES:
        return "the session may not have the target's files";
    case EPERM:
        return "the agent cannot act as the target's process: it lacks capabilities that the "
               "process has";
    default:
        return "the agent does not serve the target's files";
    }
}

/* A link or a target that is away is no refusal: both may come back, and are told of elsewhere. */
static void tell(struct filesystem *fs, int err) {
    struct fault why;
    if (err == 0 || err == ENETRESET || err == ENETDOWN || err == ESRCH || err == fs->refused)
        return;
    fs->refused = err;
    fault_set(&why, err, "%s", reason(err));
    if (fs->settings.refused)
        fs->settings.refused(fs->settings.owner, &why);
}

/* Those who waited for what was asked ahead are told what those who asked themselves are. */
static void end_runs(struct filesystem *fs) {
    struct messages waiting;
    messages_init(&waiting);
    runs_clear(&fs->runs, &waiting);
    for (struct message *m; (m = messages_take(&waiting));)
        fail_message(fs, m, -EIO);
}

/* ENETRESET: the link itself is gone, and who owns it will give another. */
static void on_ended(struct stream *s, int err) {
    struct filesystem *fs = container_of(s, struct filesystem, stream);
    for (struct asked *a; (a = asks_any(&fs->asks)); free(a))
        if (!a->dropped)
            fail(fs, a->unique, a->walk, err == EACCES || err == EPERM ? -EACCES : -EIO);
    end_runs(fs);
    pages_clear(&fs->pages);
    ahead_clear(&fs->ahead);
    tops_stale(&fs->tops);
    tell(fs, err);
    if (err == ENETRESET)
        fs->mux = NULL;
    if (fs->mux)
        timer_set(fs->loop, &fs->again, loop_now(fs->loop) + AGAIN);
}

void filesystem_link(struct filesystem *fs, struct mux *m, uint32_t target) {
    if (is_there(fs) && (fs->mux != m || fs->target != target))
        stream_end(&fs->stream, ENETRESET);
    fs->mux = m;
    fs->target = target;
    open_channel(fs);
}

/* --- answers ------------------------------------------------------------------------------------------------------------ */

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
    count(fs, a->opcode, a->node, m);
    if (a->opcode == FUSE_READDIR || a->opcode == FUSE_READDIRPLUS)
        m = pages_cut(&fs->pages, m, a->handle, a->size, a->opcode == FUSE_READDIRPLUS);
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
        give(fs, &answer, false);
    for (struct message *w; (w = messages_take(&back));)
        put_through(fs, w);
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

static void on_got(struct stream *s, struct message *m) {
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
    } else if (is_own(a->unique)) {
        to_us(fs, a, m);
    } else {
        to_kernel(fs, a, m);
    }
    free(a);
}

static const struct stream_ops stream_ops = {.got = on_got, .ended = on_ended};

/* --- requests, on the loop's thread --------------------------------------------------------------------------------------- */

/* There is no channel to ask by: who waits for it waits for a channel, as if nothing had been asked ahead. */
static void not_ahead(struct filesystem *fs, struct message *m) {
    struct messages back;
    messages_init(&back);
    runs_came(&fs->runs, head_of(m)->unique, NULL, &back);
    for (struct message *w; (w = messages_take(&back));)
        hold(fs, w);
    free(m);
}

static void take(struct post *p, struct post_item *item) {
    struct filesystem *fs = container_of(p, struct filesystem, post);
    struct message *m = container_of(item, struct message, post);
    uint32_t opcode = head_of(m)->opcode;
    if (opcode == FUSE_INTERRUPT)
        interrupted(fs, m);
    else if (!kernel_awaits(opcode))
        stream_put(&fs->stream,
                   m); /* dropped when there is no channel: the agent has forgotten all */
    else if (is_there(fs))
        put_through(fs, m);
    else if (opcode == FUSE_READ && is_own(head_of(m)->unique))
        not_ahead(fs, m);
    else if (opcode == FUSE_RELEASE || opcode == FUSE_RELEASEDIR || opcode == FILES_WALK)
        fail_message(fs, m,
                     0); /* there is nothing to release; and whoever walked asks again by itself */
    else
        hold(fs, m);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

struct filesystem *filesystem_new(const struct filesystem_settings *settings, struct fault *f) {
    struct filesystem *fs = calloc(1, sizeof *fs);
    if (!fs) {
        fault_set(f, ENOMEM, "a file system");
        return NULL;
    }
    fs->settings = *settings;
    if (mount_detached(!settings->writes, &fs->device, &fs->mount, f) < 0)
        goto free_fs;
    fs->door = door_new(fs, fs->mount, settings->uid, f);
    if (!fs->door)
        goto close_mount;
    ahead_init(&fs->ahead);
    pages_init(&fs->pages, on_forget);
    spares_init(&fs->spares);
    runs_init(&fs->runs, &fs->spares, own_read);
    tops_init(&fs->tops);
    watches_init(&fs->watches, fs->mount);
    reads_init(&fs->reads);
    messages_init(&fs->held);
    pthread_mutex_init(&fs->lock, NULL);
    pthread_cond_init(&fs->walked, NULL);
    atomic_init(&fs->own, 1);
    fs->patience.fire = on_patience;
    fs->again.fire = on_again;
    stream_init(&fs->stream, &stream_ops, &fs->spares, sizeof(struct fuse_out_header),
                FILES_MESSAGE);
    return fs;

close_mount:
    close(fs->device);
    close(fs->mount);
free_fs:
    free(fs);
    return NULL;
}

int filesystem_attach(struct filesystem *fs, struct loop *l, struct fault *f) {
    if (post_open(&fs->post, l, take, f) < 0)
        return -1;
    if (kernel_start(&fs->kernel, fs->device, &fs->spares, on_ask, f) < 0)
        goto close_post;
    if (door_open(fs->door, f) < 0)
        goto stop_kernel;
    fs->loop = l;
    return 0;

stop_kernel:
    kernel_stop(&fs->kernel);
close_post:
    post_close(&fs->post);
    return -1;
}

void filesystem_detach(struct filesystem *fs) {
    sockets_end(fs);
    stream_end(&fs->stream, ENETRESET);
    on_patience(&fs->patience);
    timer_cancel(fs->loop, &fs->patience);
    timer_cancel(fs->loop, &fs->again);
    post_close(&fs->post);
    on_patience(&fs->patience); /* what was posted meanwhile */
}

void filesystem_free(struct filesystem *fs) {
    if (fs->loop) {
        door_close(fs->door);
        watches_close(&fs->watches);
        kernel_stop(&fs->kernel);
    }
    close(fs->device); /* from here on nobody waits */
    door_free(fs->door);
    close(fs->mount);
    end_runs(fs);
    ahead_clear(&fs->ahead);
    pages_clear(&fs->pages);
    tops_clear(&fs->tops);
    reads_free(&fs->reads);
    spares_clear(&fs->spares);
    free(fs);
}

void filesystem_counters(struct filesystem *fs, struct filesystem_counters *out) {
    *out = (struct filesystem_counters){.asked = atomic_load(&fs->asked),
                                        .ahead = atomic_load(&fs->from_ahead),
                                        .opened = door_opened(fs->door),
                                        .without_layer = door_without_layer(fs->door)};
    reads_sum(&fs->reads, &out->files, &out->octets);
}

/* Without asking the file system itself, which may have nobody to ask yet. */
uint64_t filesystem_device(const struct filesystem *fs) {
    struct statx s = {0};
    CHECK(statx(fs->mount, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &s) == 0);
    return makedev(s.stx_dev_major, s.stx_dev_minor);
}

struct watches *filesystem_watches(struct filesystem *fs) {
    return &fs->watches;
}
