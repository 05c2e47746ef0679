/* See joint.h. */
#include "agent/joint.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define READ_AT_ONCE   (256 * 1024) /* fits a second-level cache, and is four DATA frames */
#define READS_IN_A_ROW 4            /* then others get their turn */

static void passed(struct shaper *s, uint64_t *counted, size_t n) {
    shaper_pass(s, n);
    *counted += n;
}

/* `j` may be gone afterwards. */
static void end(struct joint *j, int err) {
    loop_del(j->desk->loop, &j->io);
    shaper_leave(j->writes, &j->to_write);
    shaper_leave(j->reads, &j->to_read);
    backlog_clear(&j->out, &j->desk->pool);
    j->over(j, err);
}

/* A RST that comes after the peer's FIN is EPIPE to the kernel (tcp_reset): a RST all the same. */
void joint_fail(struct joint *j, int err) {
    int why = err == EPIPE ? ECONNRESET : err;
    channel_reset(&j->channel, why);
    end(j, why);
}

/* Both directions are done and written: true, and `j` is over. */
static bool finished(struct joint *j) {
    if (!j->socket_eof || !j->channel_eof || j->out.len)
        return false;
    channel_reset(&j->channel, ECONNRESET); /* forgotten already, but after joint_hush */
    end(j, 0);
    return true;
}

/* While the channel has no room, or its turn is waited for, nothing is watched for a direction, not even errors: what was
 * received goes first. */
static void watch(struct joint *j) {
    uint32_t events = 0;
    if (j->socket_eof)
        events |= EPOLLERR;
    else if (!j->wants_room && !j->to_read.waits)
        events |= EPOLLIN;
    if (j->out.len && !j->to_write.waits)
        events |= EPOLLOUT;
    loop_watch(j->desk->loop, &j->io, events);
}

/* After an error of writing there may be something left to read; the end of that tells the channel. False: over. */
static bool writing_failed(struct joint *j, int err) {
    j->write_error = err;
    backlog_clear(&j->out, &j->desk->pool);
    shaper_leave(j->writes, &j->to_write);
    if (j->socket_eof) {
        joint_fail(j, err);
        return false;
    }
    watch(j);
    return true;
}

static void ask_for_room(struct joint *j) {
    if (!j->wants_room) {
        j->wants_room = true;
        channel_want_room(&j->channel);
    }
    watch(j);
}

static void socket_ended(struct joint *j) {
    if (j->write_error) {
        joint_fail(j, j->write_error);
        return;
    }
    j->socket_eof = true;
    channel_eof(&j->channel);
    if (!finished(j))
        watch(j);
}

/* Octets that may be read now; 0: that is waited for. */
static size_t room_to_read(struct joint *j) {
    size_t room = channel_room(&j->channel), may = shaper_room(j->reads);
    if (!room) {
        ask_for_room(j);
    } else if (!may) {
        shaper_wait(j->reads, &j->to_read);
        watch(j);
    }
    size_t least = room < may ? room : may;
    return least < READ_AT_ONCE ? least : READ_AT_ONCE;
}

/* As recv(2). A Unix socket's peer may pass descriptors along, which the kernel closes here: they mean nothing at the channel's
 * other end, and to lose them in silence would be worse. */
static ssize_t receive(const struct joint *j, size_t ask) {
    struct iovec part = {j->desk->scratch, ask};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n = recvmsg(j->io.fd, &m, MSG_DONTWAIT);
    if (n < 0 || !(m.msg_flags & MSG_CTRUNC))
        return n;
    errno = EOPNOTSUPP;
    return -1;
}

/* Socket to channel. `j` may be over afterwards. */
static void pump(struct joint *j) {
    struct dial_desk *desk = j->desk;
    for (int i = 0; i < READS_IN_A_ROW; i++) {
        size_t ask = room_to_read(j);
        if (!ask)
            return;
        ssize_t n = receive(j, ask);
        if (n > 0) {
            passed(j->reads, j->read, (size_t)n);
            j->asked = true;
            channel_send(&j->channel, desk->scratch, (size_t)n);
            if ((size_t)n < ask)
                return;
        } else if (n == 0) {
            socket_ended(j);
            return;
        } else if (errno == EAGAIN) {
            return;
        } else if (errno != EINTR) {
            joint_fail(j, errno);
            return;
        }
    }
}

/* Channel to socket, what waits. False: over. */
static bool flush(struct joint *j) {
    size_t may = shaper_room(j->writes);
    long n = backlog_flush_some(&j->out, &j->desk->pool, j->io.fd, may);
    if (n < 0)
        return writing_failed(j, errno);
    passed(j->writes, j->written, (size_t)n);
    channel_grant(&j->channel, (size_t)n);
    if (j->out.len && (size_t)n == may)
        shaper_wait(j->writes, &j->to_write);
    if (!j->out.len && j->channel_eof) {
        shutdown(j->io.fd, SHUT_WR);
        if (finished(j))
            return false;
    }
    watch(j);
    return true;
}

static int socket_error(int fd) {
    int err = 0;
    socklen_t len = sizeof err;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ? errno : err;
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct joint *j = container_of(self, struct joint, io);
    if (j->out.len && !j->to_write.waits && !flush(j))
        return;
    if (j->socket_eof) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            int err = socket_error(j->io.fd);
            joint_fail(j, err ? err : ECONNRESET);
        }
        return;
    }
    if (!j->wants_room && !j->to_read.waits && (events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        pump(j);
}

static void may_write(struct shaped *self) {
    struct joint *j = container_of(self, struct joint, to_write);
    if (j->out.len)
        flush(j);
}

static void may_read(struct shaped *self) {
    struct joint *j = container_of(self, struct joint, to_read);
    watch(j);
    if (!j->wants_room && !j->socket_eof)
        pump(j);
}

void joint_start(struct joint *j) {
    j->io.ready = ready;
    j->to_write.go = may_write;
    j->to_read.go = may_read;
    watch(j);
}

/* --- the channel -------------------------------------------------------------------------------------------------- */

static void on_opened(struct channel *c) {
    struct joint *j = container_of(c, struct joint, channel);
    j->opened(j);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct joint *j = container_of(c, struct joint, channel);
    size_t sent = 0;
    if (j->write_error) {
        channel_grant(c, n);
        return;
    }
    j->asked = false;
    if (!j->out.len) {
        size_t may = shaper_room(j->writes);
        if (may < n)
            shaper_wait(j->writes, &j->to_write);
        ssize_t r = may ? send(j->io.fd, p, may < n ? may : n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (r < 0 && errno != EAGAIN && errno != EINTR) {
            writing_failed(j, errno);
            return;
        }
        sent = r > 0 ? (size_t)r : 0;
        passed(j->writes, j->written, sent);
        channel_grant(c, sent);
    }
    if (sent == n)
        return;
    if (!backlog_push(&j->out, &j->desk->pool, p + sent, n - sent))
        joint_fail(j, ENOMEM);
    else
        watch(j);
}

static void on_room(struct channel *c) {
    struct joint *j = container_of(c, struct joint, channel);
    j->wants_room = false;
    watch(j);
    if (!j->to_read.waits)
        pump(j);
}

static void channel_ended(struct joint *j) {
    j->channel_eof = true;
    if (j->write_error || j->out.len)
        return;
    shutdown(j->io.fd, SHUT_WR);
    finished(j);
}

static void on_eof(struct channel *c) {
    channel_ended(container_of(c, struct joint, channel));
}

void joint_hush(struct joint *j) {
    if (!j->channel_eof)
        channel_ended(j);
}

static void on_reset(struct channel *c, int err) {
    end(container_of(c, struct joint, channel), err ? err : ECONNRESET);
}

const struct channel_ops joint_channel_ops = {
    .opened = on_opened, .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};
