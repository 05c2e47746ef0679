#include "layer/files/inner.h"

#include "layer/files/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define AGAIN (1000ull * 1000 * 1000) /* ns until a channel that was refused is tried again */

bool filesystem_post(struct filesystem *fs, struct message *m) {
    if (post_put(&fs->post, &m->post))
        return true;
    free(m);
    return false;
}

bool filesystem_post_later(struct filesystem *fs, struct message *m) {
    if (post_put_later(&fs->post, &m->post))
        return true;
    free(m);
    return false;
}

static void on_forget(struct pages *p, uint64_t node) {
    filesystem_forget(container_of(p, struct filesystem, pages), node);
}

bool filesystem_is_there(const struct filesystem *fs) {
    return channel_attached(&fs->stream.channel);
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
    asking_put(fs, m);
}

static void open_channel(struct filesystem *fs) {
    if (!fs->mux || filesystem_is_there(fs))
        return;
    struct channel_open o = {.kind = CHANNEL_FILES,
                             .window = mux_window(fs->mux, FILES_WINDOW),
                             .source = {.addr = {.family = 4}}, /* 0.0.0.0: there is none */
                             .target = fs->target};
    channel_open(fs->mux, &fs->stream.channel, &stream_channel_ops, &o);
    if (!filesystem_is_there(fs))
        return;
    fs->given_up = false;
    greet(fs);
    timer_cancel(fs->loop, &fs->patience);
    for (struct message *m; filesystem_is_there(fs) && (m = messages_take(&fs->held));)
        asking_put(fs, m);
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

/* ENETRESET: the link itself is gone, and who owns it will give another. */
static void on_ended(struct stream *s, int err) {
    struct filesystem *fs = container_of(s, struct filesystem, stream);
    for (struct asked *a; (a = asks_any(&fs->asks)); free(a))
        if (!a->dropped)
            asking_fail(fs, a->unique, a->walk, err == EACCES || err == EPERM ? -EACCES : -EIO);
    asking_end_runs(fs);
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
    if (filesystem_is_there(fs) && (fs->mux != m || fs->target != target))
        stream_end(&fs->stream, ENETRESET);
    fs->mux = m;
    fs->target = target;
    open_channel(fs);
}

static const struct stream_ops stream_ops = {.got = answered_got, .ended = on_ended};

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
    made_init(&fs->made);
    spares_init(&fs->spares);
    runs_init(&fs->runs, &fs->spares, known_read);
    tops_init(&fs->tops);
    watches_init(&fs->watches, fs->mount);
    listings_init(&fs->listings, fs, fs->mount);
    reads_init(&fs->reads);
    messages_init(&fs->held);
    pthread_mutex_init(&fs->lock, NULL);
    pthread_cond_init(&fs->walked, NULL);
    atomic_init(&fs->own, 1);
    fs->patience.fire = asking_patience;
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
    if (post_open(&fs->post, l, asking_take, f) < 0)
        return -1;
    if (kernel_start(&fs->kernel, fs->device, &fs->spares, known_ask, known_idle, f) < 0)
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

void filesystem_leave(struct filesystem *fs) {
    struct loop *l = fs->loop;
    sockets_end(fs);
    stream_end(&fs->stream, ENETRESET);
    fs->mux = NULL;
    timer_cancel(l, &fs->patience);
    timer_cancel(l, &fs->again);
    post_leave(&fs->post);
}

void filesystem_join(struct filesystem *fs, struct loop *l) {
    fs->loop = l;
    if (fs->held.first)
        timer_set(l, &fs->patience, loop_now(l) + FILESYSTEM_PATIENCE);
    post_join(&fs->post, l);
}

void filesystem_detach(struct filesystem *fs) {
    sockets_end(fs);
    stream_end(&fs->stream, ENETRESET);
    asking_patience(&fs->patience);
    timer_cancel(fs->loop, &fs->patience);
    timer_cancel(fs->loop, &fs->again);
    post_close(&fs->post);
    asking_patience(&fs->patience); /* what was posted meanwhile */
}

void filesystem_free(struct filesystem *fs) {
    if (fs->loop) {
        door_close(fs->door);
        watches_close(&fs->watches);
        listings_close(&fs->listings);
        kernel_stop(&fs->kernel);
    }
    close(fs->device); /* from here on nobody waits */
    door_free(fs->door);
    close(fs->mount);
    asking_end_runs(fs);
    ahead_clear(&fs->ahead);
    pages_clear(&fs->pages);
    made_clear(&fs->made);
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

struct made *filesystem_made(struct filesystem *fs) {
    return &fs->made;
}

struct listings *filesystem_listings(struct filesystem *fs) {
    return &fs->listings;
}
