/* One outgoing connection: connect inside the target, then a joint between its socket and its channel.
 *
 *   CONNECTING --ok--> OPEN (channel_accept; joint.h)      --error--> gone (channel_reset with connect's errno)
 *
 * A connection that did not end in order is closed by SO_LINGER{1,0}: TCP's RST. */
#include "agent/dial.h"
#include "agent/joint.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct dial_tcp {
    struct joint joint;
    struct dial dial;
    struct target *target;
    struct own *own;
};

static void over(struct joint *j, int err) {
    struct dial_tcp *d = container_of(j, struct dial_tcp, joint);
    if (err)
        setsockopt(j->io.fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(j->io.fd);
    own_remove(d->target->own, d->own, loop_now(j->desk->loop));
    dial_leave(&d->dial);
    free(d);
}

static void drop(struct dial *self, int err) {
    joint_fail(&container_of(self, struct dial_tcp, dial)->joint, err);
}

static void connecting(struct loop_fd *self, uint32_t events) {
    struct joint *j = container_of(self, struct joint, io);
    (void)events;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(self->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err) {
        joint_fail(j, err);
        return;
    }
    joint_start(j);
    channel_accept(&j->channel, &joint_channel_ops, mux_window(j->channel.mux, DIAL_WINDOW));
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
    if (!reach_allows(&t->out->reach, &o->destination.addr)) {
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
    d->joint.desk = t->desk;
    d->joint.over = over;
    d->joint.writes = &t->out->up;
    d->joint.reads = &t->out->down;
    d->joint.written = &t->out->sent;
    d->joint.read = &t->out->received;
    d->joint.io = (struct loop_fd){.fd = fd, .ready = connecting};
    if (loop_add(t->desk->loop, &d->joint.io, EPOLLOUT, &f) < 0) {
        *err = f.err;
        close(fd);
        free(d);
        return NULL;
    }
    d->joint.channel.ops = &joint_channel_ops; /* it may be reset before it is accepted */
    d->own = dial_own(t, fd);
    dial_join(t, &d->dial, drop);
    t->out->opened++;
    return &d->joint.channel;
}
