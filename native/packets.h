/* A Unix socket that keeps packets apart (SOCK_SEQPACKET, SOCK_DGRAM) and a channel, joined: each packet crosses as its length (u32,
 * little-endian) and its octets.
 *
 * As with streams: what the socket took is granted, what it did not take waits, a window at most; without room in the channel the
 * socket is not read. A packet of more than PACKETS_MOST octets, and one with descriptors (SCM_RIGHTS), which would mean nothing at
 * the other end, resets the channel: lost in silence would be worse. An empty packet of SOCK_SEQPACKET is its end. What of
 * datagrams comes back is nothing: their sender has no address at the other end.
 *
 * It knows nothing of where the socket leads; its owner makes both ends and has them back at the end. */
#pragma once

#include "backlog.h"
#include "mux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKETS_MOST                                                                               \
    (208u * 1024) /* as much as a socket takes by default (net.core.wmem_default) */

struct packets {
    struct channel channel; /* opened, or accepted with packets_channel_ops, by the owner */
    struct loop_fd io;      /* of a non-blocking socket, added to the loop by the owner */
    struct loop *loop;
    struct chunk_pool *pool;
    int type;            /* SOCK_SEQPACKET or SOCK_DGRAM */
    bool reads;          /* what comes out of the socket is said; else only what goes in */
    bool open;           /* the channel carries octets */
    bool eof, their_eof; /* of the socket, of the channel */
    bool deaf; /* who is at the socket has gone: what still comes for it is taken and dropped */
    bool wants_room;
    uint8_t *read,
        *written; /* packets under way, each with its length: into the channel, into the socket */
    size_t read_len, read_at, written_len;
    struct backlog out;
    uint64_t *said,
        *heard; /* what came out of the socket, and went into it, is added here, if not NULL */
    /* The last call: the channel is forgotten, the socket is out of the loop and still open, the owner's to close. */
    void (*over)(struct packets *self, int err);
};

extern const struct channel_ops packets_channel_ops;

/* 0, or ENOMEM: nothing was begun. */
int packets_start(struct packets *p);
/* At once: the channel is reset as `err`, then `over`. Only after packets_start. */
void packets_fail(struct packets *p, int err);
