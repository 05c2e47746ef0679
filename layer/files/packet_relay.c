/* Unix sockets of the target's that keep packets apart (sockets.h), in the app: an accepted SOCK_SEQPACKET, or the one socket by
 * whose name all datagrams to a path come, for as long as the target's takes them. */
#include "layer/files/inner.h"

#include "native/packets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE (10ull * 1000 * 1000 * 1000) /* ns for who was told a name to come to it */

/* WAITING (waits.fd listens) --accept--> JOINED (packets); for datagrams JOINED at once. */
struct packet_relay {
    struct packets packets;
    struct loop_fd waits; /* its fd: -1 once the app has come */
    struct filesystem *fs;
    struct packet_relay *next;
    struct timer patience;
    uint64_t handle;
    char *path; /* where datagrams go; NULL */
};

static void gone(struct packet_relay *r) {
    struct packet_relay **at = &r->fs->sockets.first_packets;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    r->fs->sockets.count--;
    timer_cancel(r->fs->loop, &r->patience);
    free(r->path);
    free(r);
}

static void over(struct packets *p, int err) {
    (void)err; /* who is at the socket sees its end, as of a server that has gone */
    close(p->io.fd);
    gone(container_of(p, struct packet_relay, packets));
}

/* Nobody has come. */
static void give_up(struct packet_relay *r) {
    loop_del(r->fs->loop, &r->waits);
    close(r->waits.fd);
    filesystem_release(r->fs, FUSE_ROOT_ID, r->handle);
    gone(r);
}

static void on_patience(struct timer *t) {
    give_up(container_of(t, struct packet_relay, patience));
}

/* 0, or -errno: the descriptor is still the caller's. */
static int join(struct packet_relay *r, int fd) {
    struct packets *p = &r->packets;
    struct fault f;
    p->io = (struct loop_fd){.fd = fd, .ready = r->waits.ready};
    if (loop_add(p->loop, &p->io, 0, &f) < 0)
        return -f.err;
    if (packets_start(p) != 0) {
        loop_del(p->loop, &p->io);
        return -ENOMEM;
    }
    sockets_channel(r->fs, &p->channel, &packets_channel_ops, r->handle);
    return 0;
}

static void come(struct loop_fd *self, uint32_t events) {
    struct packet_relay *r = container_of(self, struct packet_relay, waits);
    struct loop *l = r->fs->loop;
    int fd = accept4(self->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    (void)events;
    if (fd >= 0 && sockets_may_come(r->fs, fd) && r->fs->mux && join(r, fd) == 0) {
        timer_cancel(l, &r->patience);
        loop_del(l, self);
        close(self->fd);
        self->fd = -1;
        if (!channel_attached(&r->packets.channel))
            packets_fail(&r->packets, ENETRESET); /* the link has just ended */
    } else if (fd >= 0) {
        close(fd);
    }
}

static int begin_waiting(struct packet_relay *r, int named) {
    struct fault f;
    r->waits = (struct loop_fd){.fd = named, .ready = come};
    return loop_add(r->packets.loop, &r->waits, EPOLLIN, &f) < 0 ? -f.err : 0;
}

int packet_relay_begin(struct filesystem *fs, uint64_t handle, int type, int named,
                       const char *path) {
    struct loop *loop = fs->loop;
    struct packet_relay *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    bool datagrams = type == SOCK_DGRAM;
    *r = (struct packet_relay){.fs = fs, .handle = handle, .waits = {.fd = -1, .ready = come}};
    r->packets = (struct packets){
        .loop = loop, .pool = &fs->sockets.pool, .type = type, .reads = true, .over = over};
    r->patience.fire = on_patience;
    r->path = datagrams ? strdup(path) : NULL;
    int err = datagrams && !r->path ? -ENOMEM : 0;
    if (!err)
        err = datagrams ? join(r, named) : begin_waiting(r, named);
    if (err) {
        free(r->path);
        free(r);
        return err;
    }
    r->next = fs->sockets.first_packets;
    fs->sockets.first_packets = r;
    fs->sockets.count++;
    if (!datagrams)
        timer_set(loop, &r->patience, loop_now(loop) + PATIENCE);
    else if (!channel_attached(&r->packets.channel))
        packets_fail(&r->packets, ENETRESET);
    return 0;
}

bool packet_relay_known(struct filesystem *fs, const char *path, uint8_t *name, uint32_t *n) {
    struct sockaddr_un sa;
    socklen_t len = sizeof sa;
    struct packet_relay *r = fs->sockets.first_packets;
    while (r && (!r->path || strcmp(r->path, path) != 0))
        r = r->next;
    if (!r || getsockname(r->packets.io.fd, (struct sockaddr *)&sa, &len) < 0)
        return false;
    *n = (uint32_t)(len - offsetof(struct sockaddr_un, sun_path));
    memcpy(name, sa.sun_path, *n);
    return true;
}

void packet_relays_end(struct filesystem *fs) {
    for (struct packet_relay *r; (r = fs->sockets.first_packets);)
        if (r->waits.fd >= 0)
            give_up(r);
        else
            packets_fail(&r->packets, ENETRESET);
}
