/* What is said over a Unix socket of the target's: a channel UNIX, joined to the connection that a service has as a handle. */
#include "agent/files/joined.h"

#include "agent/joint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct joined {
    struct joint joint;
    struct joined **list, *next;
};

static void over(struct joint *j, int err) {
    struct joined *self = container_of(j, struct joined, joint), **at = self->list;
    (void)err; /* whoever is at the socket sees its end, as of a program that has gone */
    while (*at != self)
        at = &(*at)->next;
    *at = self->next;
    close(j->io.fd);
    free(self);
}

/* Never called: joint_start has its own before the loop goes on. */
static void not_yet(struct loop_fd *self, uint32_t events) {
    (void)self, (void)events;
}

struct channel *joined_new(struct joined **list, struct dial_desk *desk, struct outgoing *out,
                           struct mux *m, int fd, int *err) {
    struct fault f;
    struct joined *self = calloc(1, sizeof *self);
    if (!self) {
        *err = ENOMEM;
        close(fd);
        return NULL;
    }
    struct joint *j = &self->joint;
    j->desk = desk;
    j->over = over;
    j->writes = &out->up;
    j->reads = &out->down;
    j->written = &out->sent;
    j->read = &out->received;
    j->io = (struct loop_fd){.fd = fd, .ready = not_yet};
    if (loop_add(desk->loop, &j->io, 0, &f) < 0) {
        *err = f.err;
        close(fd);
        free(self);
        return NULL;
    }
    self->list = list;
    self->next = *list;
    *list = self;
    j->channel.ops = &joint_channel_ops;
    joint_start(j);
    out->opened++;
    channel_accept(&j->channel, &joint_channel_ops, mux_window(m, DIAL_WINDOW));
    return &j->channel;
}

void joined_end(struct joined **list, int err) {
    while (*list)
        joint_fail(&(*list)->joint, err);
}
