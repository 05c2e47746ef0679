#include "layer/files/sockets.h"

#include "layer/files/door_words.h"
#include "layer/files/inner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What a name says behind its beginning: enough that two are never the same. */
enum { DIGITS = 16 };

_Static_assert(DOOR_SOCKET_LEN + DIGITS < SOCKETS_NAME, "a name is an address");

/* A listening socket, or one for datagrams; or -errno. */
static int named(int type, uint8_t name[SOCKETS_NAME], uint32_t *n) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return -EAGAIN;
    memcpy(sa.sun_path, DOOR_SOCKET, DOOR_SOCKET_LEN);
    snprintf(sa.sun_path + DOOR_SOCKET_LEN, DIGITS + 1, "%016llx", (unsigned long long)number);
    *n = DOOR_SOCKET_LEN + DIGITS;
    memcpy(name, sa.sun_path, *n);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + *n);
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&sa, len) == 0 &&
        (type == SOCK_DGRAM || listen(fd, 4) == 0))
        return fd;
    int err = errno;
    if (fd >= 0)
        close(fd);
    return -err;
}

bool sockets_may_come(const struct filesystem *fs, int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    uid_t app = fs->settings.uid;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
           (who.uid == 0 || who.uid == app || app == 0);
}

void sockets_channel(struct filesystem *fs, struct channel *c, const struct channel_ops *ops,
                     uint64_t handle) {
    struct channel_open open = {.kind = CHANNEL_UNIX,
                                .window = SOCKETS_WINDOW,
                                .source = {.addr = {.family = 4}},
                                .destination = files_socket_name(handle),
                                .target = fs->target};
    channel_open(fs->mux, c, ops, &open);
}

/* --- offering, on the loop's thread ------------------------------------------------------------------------------------------ */

struct offer {
    struct filesystem *fs;
    struct loop *loop;
    const char *path;
    uint64_t handle;
    int listener, type, result;
    uint8_t *name;
    uint32_t *len;
};

static void begin(void *arg) {
    struct offer *o = arg;
    struct filesystem *fs = o->fs;
    o->result = -EIO;
    if (!fs->mux)
        return;
    o->result = -EAGAIN;
    if (fs->loop != o->loop) /* it has gone to another since: that is told as want of room is */
        return;
    if (fs->sockets.count >= SOCKETS_MOST)
        return;
    if (o->type == SOCK_STREAM)
        o->result = stream_relay_begin(fs, o->handle, o->listener);
    else
        o->result = packet_relay_begin(fs, o->handle, o->type, o->listener, o->path);
    if (o->result == 0)
        o->listener = -1; /* the relay's */
}

static void look(void *arg) {
    struct offer *o = arg;
    bool known = o->fs->loop == o->loop && packet_relay_known(o->fs, o->path, o->name, o->len);
    o->result = known ? 0 : -ENOENT;
}

bool sockets_known(struct filesystem *fs, const char *path, uint8_t name[SOCKETS_NAME],
                   uint32_t *n) {
    struct offer o = {.fs = fs, .loop = fs->loop, .path = path, .name = name, .len = n};
    loop_call(o.loop, look, &o);
    return o.result == 0;
}

int sockets_offer(struct filesystem *fs, const struct sockets_wish *w, uint8_t name[SOCKETS_NAME],
                  uint32_t *n) {
    struct offer o = {
        .fs = fs, .loop = fs->loop, .handle = w->handle, .type = w->type, .path = w->path};
    o.result = o.listener = named(w->type, name, n);
    if (o.listener >= 0)
        loop_call(o.loop, begin, &o);
    if (o.listener >= 0)
        close(o.listener);
    if (o.result < 0)
        filesystem_release(fs, FUSE_ROOT_ID, w->handle);
    return o.result;
}

void sockets_end(struct filesystem *fs) {
    packet_relays_end(fs);
    stream_relays_end(fs);
    chunk_pool_free(&fs->sockets.pool);
}
