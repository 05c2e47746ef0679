#include "packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define LENGTH sizeof(uint32_t)

/* --- its end ------------------------------------------------------------------------------------------------------------ */

static void end(struct packets *p, int err) {
    loop_del(p->loop, &p->io);
    backlog_clear(&p->out, p->pool);
    free(p->read);
    free(p->written);
    p->over(p, err);
}

void packets_fail(struct packets *p, int err) {
    channel_reset(&p->channel, err);
    end(p, err);
}

/* Both directions are done and written: true, and it is no more. */
static bool finished(struct packets *p) {
    if (!p->eof || !p->their_eof || p->out.len || p->written_len)
        return false;
    end(p, 0);
    return true;
}

static void watch(struct packets *p) {
    uint32_t events = 0;
    if (p->reads && p->open && !p->eof && !p->wants_room)
        events |= EPOLLIN;
    if (p->written_len)
        events |= EPOLLOUT;
    loop_watch(p->loop, &p->io, events);
}

/* --- socket to channel ---------------------------------------------------------------------------------------------------- */

/* The packet that was read, as much of it as the channel takes. False: it waits for room. */
static bool send_on(struct packets *p) {
    while (p->read_at < p->read_len) {
        size_t room = channel_room(&p->channel), left = p->read_len - p->read_at;
        size_t n = room < left ? room : left;
        if (n == 0) {
            p->wants_room = true;
            channel_want_room(&p->channel);
            return false;
        }
        channel_send(&p->channel, p->read + p->read_at, n < MUX_FRAME_DATA ? n : MUX_FRAME_DATA);
        p->read_at += n < MUX_FRAME_DATA ? n : MUX_FRAME_DATA;
    }
    p->read_at = p->read_len = 0;
    return true;
}

/* 1: a packet; 0: there is none now, or no more at all; -1: it is over. */
static int take(struct packets *p) {
    struct iovec part = {p->read + LENGTH, PACKETS_MOST};
    struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t n = recvmsg(p->io.fd, &packet, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0 || packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
        int lost = packet.msg_flags & MSG_CTRUNC ? EOPNOTSUPP : EMSGSIZE;
        packets_fail(p, n < 0 ? errno : lost);
        return -1;
    }
    if (n == 0 && p->type == SOCK_SEQPACKET) {
        p->eof = true;
        channel_eof(&p->channel);
        return finished(p) ? -1 : 0;
    }
    uint32_t len = (uint32_t)n;
    memcpy(p->read, &len, LENGTH);
    p->read_len = LENGTH + len;
    if (p->said)
        *p->said += len;
    return 1;
}

static void pump(struct packets *p) {
    while (p->open && !p->wants_room && !p->eof) {
        int got = take(p);
        if (got < 0)
            return;
        if (got == 0 || !send_on(p))
            break;
    }
    watch(p);
}

/* --- channel to socket ---------------------------------------------------------------------------------------------------- */

/* From the backlog until there are `want` octets. */
static bool gather(struct packets *p, size_t want) {
    while (p->written_len < want) {
        size_t n = want - p->written_len;
        const uint8_t *at = backlog_front(&p->out, &n);
        if (!at)
            return false;
        n = n < want - p->written_len ? n : want - p->written_len;
        memcpy(p->written + p->written_len, at, n);
        backlog_drop(&p->out, p->pool, n);
        channel_grant(&p->channel, n);
        p->written_len += n;
    }
    return true;
}

/* 1: there is a whole packet, 0: not yet, -1: it is over. */
static int whole(struct packets *p, uint32_t *len) {
    if (!gather(p, LENGTH))
        return 0;
    memcpy(len, p->written, LENGTH);
    if (*len <= PACKETS_MOST)
        return gather(p, LENGTH + *len);
    packets_fail(p, EPROTO);
    return -1;
}

/* False: it is no more. */
static bool write_out(struct packets *p) {
    uint32_t len;
    int got;
    while ((got = whole(p, &len)) == 1) {
        if (!p->deaf && send(p->io.fd, p->written + LENGTH, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
            if (errno == EAGAIN || errno == ENOBUFS || errno == EINTR)
                break;
            if (!p->eof) {
                packets_fail(p, errno);
                return false;
            }
            p->deaf = true; /* what it has said is on its way, and a reset would overtake it */
        }
        if (p->heard && !p->deaf)
            *p->heard += len;
        p->written_len = 0;
    }
    if (got < 0)
        return false;
    if (p->their_eof && got == 0) {
        p->written_len = 0; /* of a packet that does not come any more */
        shutdown(p->io.fd, SHUT_WR);
        if (p->type == SOCK_DGRAM && !p->eof) { /* which has no end of its own */
            p->eof = true;
            channel_eof(&p->channel);
        }
        if (finished(p))
            return false;
    }
    watch(p);
    return true;
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct packets *p = container_of(self, struct packets, io);
    if (events & EPOLLOUT && !write_out(p))
        return;
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && p->reads && !p->eof)
        pump(p);
    else if (events & (EPOLLHUP | EPOLLERR) && !p->reads)
        packets_fail(p, ECONNRESET);
}

/* --- the channel ------------------------------------------------------------------------------------------------------------ */

static void on_opened(struct channel *c) {
    struct packets *p = container_of(c, struct packets, channel);
    p->open = true;
    pump(p);
}

static void on_data(struct channel *c, const uint8_t *octets, size_t n) {
    struct packets *p = container_of(c, struct packets, channel);
    if (!backlog_push(&p->out, p->pool, octets, n))
        packets_fail(p, ENOMEM);
    else
        write_out(p);
}

static void on_room(struct channel *c) {
    struct packets *p = container_of(c, struct packets, channel);
    p->wants_room = false;
    if (send_on(p))
        pump(p);
}

static void on_eof(struct channel *c) {
    struct packets *p = container_of(c, struct packets, channel);
    p->their_eof = true;
    write_out(p);
}

static void on_reset(struct channel *c, int err) {
    end(container_of(c, struct packets, channel), err);
}

const struct channel_ops packets_channel_ops = {
    .opened = on_opened, .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};

int packets_start(struct packets *p) {
    p->read = malloc(LENGTH + PACKETS_MOST);
    p->written = malloc(LENGTH + PACKETS_MOST);
    if (!p->read || !p->written) {
        free(p->read);
        free(p->written);
        return ENOMEM;
    }
    p->io.ready = ready;
    watch(p);
    return 0;
}
