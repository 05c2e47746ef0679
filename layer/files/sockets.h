/* Unix sockets of the target's in the app: each is a connection of the app's program to a name of ours, and a channel UNIX.
 *
 *     app's own socket --connect(2)--> a name that only this ask was told --accept--> relay <==channel==> agent <--> server
 *
 * The program keeps its own socket, with all that it has set on it and every epoll it is in: that is why it connects once more,
 * and is not given another descriptor. The agent has connected before the name is told, so that connect(2)'s errors are true. */
#pragma once

#include "native/backlog.h"
#include "native/loop.h"

#include <stddef.h>
#include <stdint.h>

#define SOCKETS_MOST                                                                               \
    1024 /* connections at a time; more are EAGAIN, as those to a server whose queue is full */
#define SOCKETS_WINDOW (256u * 1024)
#define SOCKETS_NAME   108 /* octets of a name, at most */

struct filesystem;
struct relay;

/* The loop's thread's. */
struct sockets {
    struct relay *first;
    uint32_t count;
    struct chunk_pool pool;
    uint8_t scratch[65536];
};

/* On a door's thread: makes the name (`*n` octets of sun_path) of the target's connection that is this handle. 0, or -errno: then
 * the handle is released. */
int sockets_offer(struct filesystem *fs, uint64_t handle, uint8_t name[SOCKETS_NAME], uint32_t *n);
/* On the loop's thread: all end now. */
void sockets_end(struct filesystem *fs);
