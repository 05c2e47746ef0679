/* Stream sockets of the target's in the app (sockets.h): octets both ways, ends and errors. */
#include "layer/files/inner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE (10ull * 1000 * 1000 * 1000) /* ns for who was told a name to connect to it */

/* WAITING (fd listens) --accept--> JOINED (fd is the app's) --both ends--> freed. The channel is there from the beginning. */
struct relay {
    struct channel channel;
    struct loop_fd io;
    struct filesystem *fs;
    struct relay *next;
    struct timer patience;
    struct backlog out; /* a window at most */
    bool joined, open;
    bool socket_eof, channel_eof, wants_room;
};

/* --- its end ---------------------------------------------------------------------------------------------------------- */

static void end(struct relay *r) {
    struct filesystem *fs = r->fs;
    struct relay **at = &fs->sockets.first;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    fs->sockets.count--;
    timer_cancel(fs->loop, &r->patience);
    loop_del(fs->loop, &r->io);
    close(r->io.fd);
    backlog_clear(&r->out, &fs->sockets.pool);
    free(r);
}

static void fail(struct relay *r, int err) {
    channel_reset(&r->channel, err);
    end(r);
}

/* Both directions are done and written: true, and it is no more. */
static bool finished(struct relay *r) {
    if (!r->socket_eof || !r->channel_eof || r->out.len)
        return false;
    end(r);
    return true;
}

static void watch(struct relay *r) {
    uint32_t events = 0;
    if (!r->joined || (r->open && !r->socket_eof && !r->wants_room))
        events |= EPOLLIN;
    if (r->joined && r->out.len)
        events |= EPOLLOUT;
    if (r->socket_eof)
        events |= EPOLLERR;
    loop_watch(r->fs->loop, &r->io, events);
}

/* --- app to channel ----------------------------------------------------------------------------------------------------- */

static void pump(struct relay *r) {
    uint8_t *scratch = r->fs->sockets.scratch;
    size_t room = channel_room(&r->channel);
    if (!room) {
        r->wants_room = true;
        channel_want_room(&r->channel);
        watch(r);
        return;
    }
    size_t most = room < sizeof r->fs->sockets.scratch ? room : sizeof r->fs->sockets.scratch;
    struct iovec part = {scratch, most};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n = recvmsg(r->io.fd, &m, MSG_DONTWAIT);
    if (n >= 0 && m.msg_flags & MSG_CTRUNC) {
        fail(r, EOPNOTSUPP); /* descriptors came along, which mean nothing there */
    } else if (n > 0) {
        channel_send(&r->channel, scratch, (size_t)n);
    } else if (n == 0) {
        r->socket_eof = true;
        channel_eof(&r->channel);
        if (!finished(r))
            watch(r);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(r, errno);
    }
}

/* --- channel to app ----------------------------------------------------------------------------------------------------- */

/* False: it is no more. */
static bool flush(struct relay *r) {
    long n = backlog_flush(&r->out, &r->fs->sockets.pool, r->io.fd);
    if (n < 0) {
        fail(r, errno);
        return false;
    }
    channel_grant(&r->channel, (size_t)n);
    if (!r->out.len && r->channel_eof) {
        shutdown(r->io.fd, SHUT_WR);
        if (finished(r))
            return false;
    }
    watch(r);
    return true;
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct relay *r = container_of(c, struct relay, channel);
    if (!backlog_push(&r->out, &r->fs->sockets.pool, p, n))
        fail(r, ENOMEM);
    else if (r->joined)
        flush(r);
}

static void on_eof(struct channel *c) {
    struct relay *r = container_of(c, struct relay, channel);
    r->channel_eof = true;
    if (r->joined)
        flush(r);
}

static void on_opened(struct channel *c) {
    struct relay *r = container_of(c, struct relay, channel);
    r->open = true;
    watch(r);
}

static void on_room(struct channel *c) {
    struct relay *r = container_of(c, struct relay, channel);
    r->wants_room = false;
    watch(r);
}

static void on_reset(struct channel *c, int err) {
    (void)err; /* who is at the socket sees its end, as of a server that has gone */
    end(container_of(c, struct relay, channel));
}

static const struct channel_ops ops = {
    .opened = on_opened, .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};

/* --- the app comes ------------------------------------------------------------------------------------------------------ */

static void come(struct relay *r) {
    struct fault f;
    int fd = accept4(r->io.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    if (!sockets_may_come(r->fs, fd)) {
        close(fd);
        return;
    }
    struct loop *l = r->fs->loop;
    timer_cancel(l, &r->patience);
    loop_del(l, &r->io);
    close(r->io.fd);
    r->io.fd = fd;
    r->joined = true;
    if (loop_add(l, &r->io, 0, &f) < 0)
        fail(r, f.err);
    else
        flush(r);
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct relay *r = container_of(self, struct relay, io);
    if (!r->joined) {
        come(r);
        return;
    }
    if (r->out.len && !flush(r))
        return;
    if (r->socket_eof && events & (EPOLLERR | EPOLLHUP))
        fail(r, ECONNRESET);
    else if (r->open && !r->wants_room && !r->socket_eof)
        pump(r);
}

static void on_patience(struct timer *t) {
    fail(container_of(t, struct relay, patience), ETIMEDOUT);
}

/* --- its beginning -------------------------------------------------------------------------------------------------------- */

int stream_relay_begin(struct filesystem *fs, uint64_t handle, int listener) {
    struct fault f;
    struct relay *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    *r = (struct relay){.fs = fs, .io = {.fd = listener, .ready = ready}};
    r->patience.fire = on_patience;
    if (loop_add(fs->loop, &r->io, EPOLLIN, &f) < 0) {
        free(r);
        return -f.err;
    }
    sockets_channel(fs, &r->channel, &ops, handle);
    r->next = fs->sockets.first;
    fs->sockets.first = r;
    fs->sockets.count++;
    timer_set(fs->loop, &r->patience, loop_now(fs->loop) + PATIENCE);
    if (!channel_attached(&r->channel))
        end(r); /* the link has just ended: whoever connects finds nobody */
    return 0;
}

void stream_relays_end(struct filesystem *fs) {
    while (fs->sockets.first)
        fail(fs->sockets.first, ENETRESET);
}
