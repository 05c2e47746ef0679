/* What is said over a Unix socket of the target's: a channel UNIX, joined to the connection that a service has as a handle. */
#include "agent/files/joined.h"

#include "agent/joint.h"
#include "native/packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct joined {
    struct joint joint;
    struct packets packets; /* in its place, if the socket keeps packets apart */
    bool packed;
    struct joined **list, *next;
};

/* Whoever is at the socket sees its end, as of a program that has gone. */
static void gone(struct joined *self, int fd) {
    struct joined **at = self->list;
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    close(fd);
    free(self);
}

static void over(struct joint *j, int err) {
    (void)err;
    gone(container_of(j, struct joined, joint), j->io.fd);
}

static void packets_over(struct packets *p, int err) {
    (void)err;
    gone(container_of(p, struct joined, packets), p->io.fd);
}

/* Never called: joint_start has its own before the loop goes on. */
static void not_yet(struct loop_fd *self, uint32_t events) {
    (void)self, (void)events;
}

/* Of datagrams only those that go there: the server knows no address for its own. */
static struct channel *begin_packets(struct joined *self, struct outgoing *out) {
    struct packets *p = &self->packets;
    p->reads = p->type == SOCK_SEQPACKET;
    p->open = true;
    p->over = packets_over;
    p->said = &out->received;
    p->heard = &out->sent;
    p->channel.ops = &packets_channel_ops;
    return packets_start(p) == 0 ? &p->channel : NULL;
}

static struct channel *begin_stream(struct joined *self) {
    self->joint.channel.ops = &joint_channel_ops;
    joint_start(&self->joint);
    return &self->joint.channel;
}

static void prepare(struct joint *j, struct dial_desk *desk, struct outgoing *out) {
    j->desk = desk;
    j->over = over;
    j->writes = &out->up;
    j->reads = &out->down;
    j->written = &out->sent;
    j->read = &out->received;
}

/* NULL: *err. */
static struct joined *made(struct dial_desk *desk, int fd, int *err) {
    struct fault f;
    struct joined *self = calloc(1, sizeof *self);
    socklen_t len = sizeof self->packets.type;
    if (!self) {
        *err = ENOMEM;
        return NULL;
    }
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &self->packets.type, &len);
    self->packed = self->packets.type != SOCK_STREAM;
    self->packets.loop = desk->loop;
    self->packets.pool = &desk->pool;
    struct loop_fd *io = self->packed ? &self->packets.io : &self->joint.io;
    *io = (struct loop_fd){.fd = fd, .ready = not_yet};
    if (loop_add(desk->loop, io, 0, &f) == 0)
        return self;
    *err = f.err;
    free(self);
    return NULL;
}

struct channel *joined_new(struct joined **list, struct dial_desk *desk, struct outgoing *out,
                           struct mux *m, int fd, int *err) {
    struct joined *self = made(desk, fd, err);
    if (!self) {
        close(fd);
        return NULL;
    }
    prepare(&self->joint, desk, out);
    struct channel *c = self->packed ? begin_packets(self, out) : begin_stream(self);
    if (!c) {
        *err = ENOMEM;
        loop_del(desk->loop, &self->packets.io);
        close(fd);
        free(self);
        return NULL;
    }
    self->list = list;
    self->next = *list;
    *list = self;
    out->opened++;
    channel_accept(c, c->ops, mux_window(m, DIAL_WINDOW));
    return c;
}

void joined_end(struct joined **list, int err) {
    while (*list)
        if ((*list)->packed)
            packets_fail(&(*list)->packets, err);
        else
            joint_fail(&(*list)->joint, err);
}
