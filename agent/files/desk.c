/* Where services are opened, one for each channel FILES, and where they end.
 *
 * A service is freed when the loop has let go of it and its last thread has ended. Answers that are on their way by then are
 * dropped where they arrive: each carries its service, which lives until they have (`references`). */
#include "agent/files/service.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* --- its life ----------------------------------------------------------------------------------------------------------- */

static void desk_let_go(struct files_desk *d) {
    if (atomic_fetch_sub(&d->references, 1) == 1)
        free(d);
}

void service_let_go(struct service *s) {
    if (atomic_fetch_sub(&s->references, 1) != 1)
        return;
    handles_clear(&s->tree.handles);
    nodes_free(s->tree.nodes);
    spares_clear(&s->tree.spares);
    pool_free(&s->pool);
    free(s->doom);
    desk_let_go(s->desk);
    free(s);
}

/* --- opening ------------------------------------------------------------------------------------------------------------ */

/* pidfd_open(2): readable once the process has ended, and then /proc/PID may have been another's. */
static bool has_ended(int pidfd) {
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

/* An O_PATH descriptor of the target's root, in the target's mount namespace; and who it is. Neither blocks: it is /proc. */
static int look_at(struct service *s, const struct files_target *t, struct fault *f) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root", (int)t->pid);
    /*privileged CAP_SYS_PTRACE: /proc/PID/root of another user's process (proc(5)). */
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fault_set(f, errno == ENOENT ? ESRCH : errno, "open the target's root");
    if (credentials_read(t->pid, &s->who, f) < 0 || has_ended(t->pidfd)) {
        close(root);
        return fault_set(f, ESRCH, "the target's process has ended");
    }
    s->tree.nodes = nodes_new(root);
    return s->tree.nodes ? 0 : fault_set(f, ENOMEM, "a table of the target's files");
}

static struct service *service_new(const struct files_target *t, int *err) {
    struct fault f = {.err = ENOMEM};
    struct service *s = calloc(1, sizeof *s);
    if (s && (s->doom = message_new(0)) && look_at(s, t, &f) == 0)
        return s;
    if (s)
        free(s->doom);
    free(s);
    *err = f.err;
    return NULL;
}

static void tree_init(struct service *s, const struct files_target *t) {
    handles_init(&s->tree.handles, s->tree.nodes);
    s->tree.uid = s->tree.shown_uid = s->who.uid;
    s->tree.gid = s->tree.shown_gid = s->who.gid;
    s->tree.writes = t->writes;
    s->tree.connects = t->connects;
}

struct channel *files_open(struct files_desk *d, const struct files_target *t,
                           struct files_rates rates, const void *owner, int *err) {
    *err = EACCES;
    struct service *s = t->pidfd < 0 ? NULL : service_new(t, err);
    if (!s)
        return NULL;
    spares_init(&s->tree.spares);
    service_init(s);
    tree_init(s, t);
    s->used = t->used;
    atomic_flag_clear(&s->doomed);
    atomic_init(&s->references, 2); /* the loop's, and its pool's */
    s->desk = d;
    atomic_fetch_add(&d->references, 1);
    s->owner = owner;
    s->rates = rates;
    s->next = &d->services;
    s->prev = d->services.prev;
    s->prev->next = s->next->prev = s;
    s->stream.channel.ops = &stream_channel_ops;
    channel_accept(&s->stream.channel, &stream_channel_ops, FILES_WINDOW);
    return &s->stream.channel;
}

/* Of a handle that is a connected socket: its own descriptor. -1, EBADF: it is not. */
static int socket_of(const struct handle *h) {
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    if (getpeername(h->fd, (struct sockaddr *)&peer, &len) == 0 || errno != ENOTSOCK)
        return fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    errno = EBADF;
    return -1;
}

int files_take(struct files_desk *d, const void *owner, uint64_t handle) {
    for (struct service *s = d->services.next; s != &d->services; s = s->next) {
        struct handle *h = s->owner == owner ? handles_use(&s->tree.handles, handle) : NULL;
        if (!h)
            continue;
        int fd = socket_of(h);
        handles_done(&s->tree.handles, h);
        if (fd >= 0)
            handles_release(&s->tree.handles, handle);
        return fd;
    }
    errno = EBADF;
    return -1;
}

void files_leave(struct files_desk *d, const void *owner, int err) {
    for (struct service *s = d->services.next, *next; s != &d->services; s = next) {
        next = s->next;
        if (s->owner == owner)
            stream_end(&s->stream, err);
    }
}

struct files_desk *files_desk_new(struct loop *l, struct fault *f) {
    struct files_desk *d = calloc(1, sizeof *d);
    if (!d) {
        fault_set(f, ENOMEM, "a desk for files");
        return NULL;
    }
    atomic_init(&d->references, 1);
    d->services.next = d->services.prev = &d->services;
    if (post_open(&d->post, l, service_take, f) == 0)
        return d;
    free(d);
    return NULL;
}

void files_desk_free(struct files_desk *d) {
    post_close(&d->post);
    desk_let_go(d);
}
