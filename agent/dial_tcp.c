/* One outgoing connection: connect inside the target, then a relay between its socket and its channel.
 *
 *   CONNECTING --ok--> OPEN (channel_accept)      --error--> gone (channel_reset with connect's errno)
 *   OPEN: socket EOF -> channel_eof; channel EOF, once all is written -> shutdown(SHUT_WR); both -> closed in order.
 *         socket error -> channel_reset; channel RESET -> SO_LINGER{1,0} and close: TCP's RST.
 *
 * Credit: what the socket took is granted; what it did not take waits in `out`, a window at most. Without room in the
 * channel the socket is not read, so its own TCP window closes towards the server.
 *
 * An error of the socket is not told before what it had received has been: recv(2) hands that out first, and a server
 * that answers early and closes on unread data (RST) would otherwise lose its answer. */
#include "agent/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_AT_ONCE   (256 * 1024) /* fits a second-level cache, and is four DATA frames */
#define READS_IN_A_ROW 4            /* then others get their turn */

struct dial_tcp {
    struct channel channel;
    struct loop_fd io;
    struct dial dial;
    struct target *target;
    struct own *own;
    struct backlog out;
    int write_error;  /* errno of send(2); from then on only reading goes on, to its end */
    bool socket_eof;  /* told to the channel */
    bool channel_eof; /* shutdown(2) as soon as `out` is empty */
    bool wants_room;
};

static struct dial_desk *desk_of(const struct dial_tcp *d) {
    return d->target->desk;
}

static void destroy(struct dial_tcp *d, bool with_rst) {
    struct dial_desk *desk = desk_of(d);
    loop_del(desk->loop, &d->io);
    if (with_rst)
        setsockopt(d->io.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(d->io.fd);
    backlog_clear(&d->out, &desk->pool);
    own_remove(d->target->own, d->own, loop_now(desk->loop));
    dial_leave(&d->dial);
    free(d);
}

/* A RST that comes after the peer's FIN is EPIPE to the kernel (tcp_reset): a RST all the same. */
static void fail(struct dial_tcp *d, int err) {
    channel_reset(&d->channel, err == EPIPE ? ECONNRESET : err);
    destroy(d, true);
}

static void drop(struct dial *self, int err) {
    fail(container_of(self, struct dial_tcp, dial), err);
}

/* Both directions are done and written: true, and `d` is no more. */
static bool finished(struct dial_tcp *d) {
    if (!d->socket_eof || !d->channel_eof || d->out.len)
        return false;
    destroy(d, false);
    return true;
}

/* While the channel has no room nothing is watched for its direction, not even errors: what was received goes first. */
static void watch(struct dial_tcp *d) {
    uint32_t events = 0;
    if (d->socket_eof)
        events |= EPOLLERR;
    else if (!d->wants_room)
        events |= EPOLLIN;
    if (d->out.len)
        events |= EPOLLOUT;
    loop_watch(desk_of(d)->loop, &d->io, events);
}

/* After an error of writing there may be something left to read; the end of that tells the channel. False: `d` is gone. */
static bool writing_failed(struct dial_tcp *d, int err) {
    d->write_error = err;
    backlog_clear(&d->out, &desk_of(d)->pool);
    if (d->socket_eof) {
        fail(d, err);
        return false;
    }
    watch(d);
    return true;
}

static void ask_for_room(struct dial_tcp *d) {
    if (!d->wants_room) {
        d->wants_room = true;
        channel_want_room(&d->channel);
    }
    watch(d);
}

/* Socket to channel. `d` may be gone afterwards. */
static void pump(struct dial_tcp *d) {
    struct dial_desk *desk = desk_of(d);
    for (int i = 0; i < READS_IN_A_ROW; i++) {
        size_t room = channel_room(&d->channel);
        if (!room) {
            ask_for_room(d);
            return;
        }
        size_t ask = room < READ_AT_ONCE ? room : READ_AT_ONCE;
        ssize_t n = recv(d->io.fd, desk->scratch, ask, MSG_DONTWAIT);
        if (n > 0) {
            channel_send(&d->channel, desk->scratch, (size_t)n);
            if ((size_t)n < ask)
                return;
        } else if (n == 0 && d->write_error) {
            fail(d, d->write_error);
            return;
        } else if (n == 0) {
            d->socket_eof = true;
            channel_eof(&d->channel);
            if (!finished(d))
                watch(d);
            return;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            fail(d, errno);
            return;
        }
    }
}

/* Channel to socket, what waits. False: `d` is gone. */
static bool flush(struct dial_tcp *d) {
    long n = backlog_flush(&d->out, &desk_of(d)->pool, d->io.fd);
    if (n < 0)
        return writing_failed(d, errno);
    channel_grant(&d->channel, (size_t)n);
    if (!d->out.len && d->channel_eof) {
        shutdown(d->io.fd, SHUT_WR);
        if (finished(d))
            return false;
    }
    watch(d);
    return true;
}

static int socket_error(int fd) {
    int err = 0;
    socklen_t len = sizeof err;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct dial_tcp *d = container_of(self, struct dial_tcp, io);
    if (d->out.len && !flush(d))
        return;
    if (d->socket_eof) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            int err = socket_error(d->io.fd);
            fail(d, err ? err : ECONNRESET);
        }
        return;
    }
    if (!d->wants_room && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        pump(d);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct dial_tcp *d = container_of(c, struct dial_tcp, channel);
    size_t sent = 0;
    if (d->write_error) {
        channel_grant(c, n);
        return;
    }
    if (!d->out.len) {
        ssize_t r = send(d->io.fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r < 0 && errno != EAGAIN && errno != EINTR) {
            writing_failed(d, errno);
            return;
        }
        sent = r > 0 ? (size_t)r : 0;
        channel_grant(c, sent);
    }
    if (sent == n)
        return;
    if (!backlog_push(&d->out, &desk_of(d)->pool, p + sent, n - sent))
        fail(d, ENOMEM);
    else
        watch(d);
}

static void on_room(struct channel *c) {
    struct dial_tcp *d = container_of(c, struct dial_tcp, channel);
    d->wants_room = false;
    watch(d);
    pump(d);
}

static void on_eof(struct channel *c) {
    struct dial_tcp *d = container_of(c, struct dial_tcp, channel);
    d->channel_eof = true;
    if (d->write_error || d->out.len)
        return;
    shutdown(d->io.fd, SHUT_WR);
    finished(d);
}

static void on_reset(struct channel *c, int err) {
    (void)err;
    destroy(container_of(c, struct dial_tcp, channel), true);
}

static const struct channel_ops ops = {
    .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};

static void connecting(struct loop_fd *self, uint32_t events) {
    struct dial_tcp *d = container_of(self, struct dial_tcp, io);
    (void)events;
    int err = socket_error(self->fd);
    if (err) {
        fail(d, err);
        return;
    }
    d->io.ready = ready;
    watch(d);
    channel_accept(&d->channel, &ops, mux_window(d->channel.mux, DIAL_WINDOW));
}

/* A connected, or connecting, socket; -1 and errno. */
static int start(struct target *t, const struct endpoint *to) {
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(to, &sa);
    int fd = dial_socket(t, sa.ss_family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    /* An urgent octet is passed on in its place, as the app's kernel sent it. */
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    if (connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

struct channel *dial_tcp(struct target *t, const struct channel_open *o, int *err) {
    struct fault f;
    if (!reach_allows(t->reach, &o->destination.addr)) {
        *err = EACCES;
        return NULL;
    }
    struct dial_tcp *d = calloc(1, sizeof *d);
    if (!d) {
        *err = ENOMEM;
        return NULL;
    }
    int fd = start(t, &o->destination);
    if (fd < 0) {
        *err = errno;
        free(d);
        return NULL;
    }
    d->target = t;
    d->io = (struct loop_fd){.fd = fd, .ready = connecting};
    if (loop_add(t->desk->loop, &d->io, EPOLLOUT, &f) < 0) {
        *err = f.err;
        close(fd);
        free(d);
        return NULL;
    }
    d->channel.ops = &ops; /* it may be reset before it is accepted */
    d->own = dial_own(t, fd);
    dial_join(t, &d->dial, drop);
    return &d->channel;
}
