/* Unix sockets of the target's in the app: each is a connection of the app's program to a name of ours, and a channel UNIX.
 *
 *     app's own socket --connect(2)--> a name that only this ask was told --accept--> relay <==channel==> agent <--> server
 *
 * The program keeps its own socket, with all that it has set on it and every epoll it is in: that is why it connects once more,
 * and is not given another descriptor. The agent has connected before the name is told, so that connect(2)'s errors are true. */
#pragma once

#include "native/backlog.h"
#include "native/loop.h"
#include "native/mux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOCKETS_MOST                                                                               \
    1024 /* connections at a time; more are EAGAIN, as those to a server whose queue is full */
#define SOCKETS_WINDOW (256u * 1024)
#define SOCKETS_NAME   108 /* octets of a name, at most */

struct filesystem;
struct relay;
struct packet_relay;

/* The loop's thread's. */
struct sockets {
    struct relay *first;
    struct packet_relay *first_packets;
    uint32_t count; /* of both */
    struct chunk_pool pool;
    uint8_t scratch[65536];
};

struct sockets_wish {
    uint64_t handle; /* of the target's connection */
    int type;        /* SOCK_STREAM and its like */
    const char *path;
};

/* On a door's thread: makes the name (`*n` octets of sun_path) of a connection. 0, or -errno: then the handle is released. */
int sockets_offer(struct filesystem *fs, const struct sockets_wish *w, uint8_t name[SOCKETS_NAME],
                  uint32_t *n);
/* The name by which datagrams go to this path already: theirs are all of one socket, for none comes back. */
bool sockets_known(struct filesystem *fs, const char *path, uint8_t name[SOCKETS_NAME],
                   uint32_t *n);
/* On the loop's thread: all end now. */
void sockets_end(struct filesystem *fs);

/* The rest is among its files, and the loop's thread's. Whether who is at the other end may speak with the target: the app. */
bool sockets_may_come(const struct filesystem *fs, int fd);
void sockets_channel(struct filesystem *fs, struct channel *c, const struct channel_ops *ops,
                     uint64_t handle);
/* Take the socket. 0, or -errno: nothing was taken. */
int stream_relay_begin(struct filesystem *fs, uint64_t handle, int listener);
int packet_relay_begin(struct filesystem *fs, uint64_t handle, int type, int named,
                       const char *path);
bool packet_relay_known(struct filesystem *fs, const char *path, uint8_t *name, uint32_t *n);
void stream_relays_end(struct filesystem *fs);
void packet_relays_end(struct filesystem *fs);
