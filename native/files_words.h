/* Channel FILES: what bridge and agent say to each other about files.
 *
 * It is the kernel's own FUSE protocol (linux/fuse.h, 7.31), as /dev/fuse speaks it and virtiofs does over a queue: requests
 * from the bridge, answers from the agent, each with its length first, so that the channel's stream needs no frames of its
 * own; `unique` ties them, many are in flight, INTERRUPT cancels. What the bridge's kernel asks is passed on as it is; nothing
 * is taken apart in the bridge to be put together again in the agent. Rejected: words of our own, which would say the same
 * forty things in other structs, with a translator at both ends.
 *
 * INIT and DESTROY are between each kernel and its bridge and do not cross. Three requests are ours:
 *   HELLO  first on the channel: how uid and gid are shown; answered when the agent can act as the target, or with why not
 *   WALK   a path from the root, resolved as the bridge's kernel will resolve it. The answer is a sequence of records
 *          (struct files_record), each a request that the kernel is about to make and its answer, so that open, read and
 *          close of a small file cost one round trip: the look-ups, the links' texts, OPEN, and the file's first octets
 *   CONNECT  a path, a NUL, and, if it is no stream, its type (u32: SOCK_DGRAM, SOCK_SEQPACKET; an agent that knows none is
 *          EINVAL): that Unix socket is connected. The answer is a handle, as OPEN's: either RELEASE
 *          closes it, or a channel UNIX whose destination says it carries what is said over it, both ways, to its end
 *
 * Integers are little-endian, as both ends' machines are (x86_64, aarch64). A side that sees a length, opcode or unique that
 * cannot be resets the channel (EPROTO); a request that is only wrong is answered with -EINVAL. */
#pragma once

#include "addr.h"

#include <linux/fuse.h>
#include <stdint.h>
#include <string.h>

#define FILES_VERSION 1
#define FILES_MINOR   31 /* of FUSE: structs have that version's sizes */

/* Octets of one READ or WRITE; of one message, its heads and a name or two included. */
#define FILES_IO      (256u * 1024)
#define FILES_MESSAGE (FILES_IO + 16 * 1024)
/* Content that comes with a WALK, and of its answer in all. */
#define FILES_AHEAD (64u * 1024)
/* Requests without an answer; INTERRUPT and FORGET have none and are not counted. */
#define FILES_IN_FLIGHT 256
/* What the agent takes before it grants more, and the bridge. */
#define FILES_WINDOW (1024u * 1024)

enum files_opcode {
    FILES_HELLO = 0x4d520001,
    FILES_WALK = 0x4d520002,
    FILES_CONNECT = 0x4d520010,
};

/* The target process's uid and gid are shown as these, and back. */
struct files_hello {
    uint32_t version;
    uint32_t uid, gid;
    uint32_t reserved;
};

struct files_welcome {
    uint32_t version;
    uint32_t writes; /* 1: changes are allowed to this session; else they are EROFS */
};

/* After it: the path, beginning with '/', and a NUL. */
struct files_walk {
    /* 1: OPEN with `flags` and READ of `size` octets where it ends, if that is a regular file. 2: also, if it is a folder, OPENDIR
     * and READDIRPLUS of FILES_AHEAD octets; an agent that knows no 2 takes it for 1. */
    uint32_t open;
    uint32_t flags;     /* open(2)'s, O_RDONLY and what goes with it */
    uint32_t size;      /* at most FILES_AHEAD */
    uint32_t no_follow; /* the last part, if it is a symlink, is not followed */
};

struct files_connected {
    uint64_t handle;
};

/* A channel UNIX's destination: the handle as the first eight octets of an IPv6 address. */
static inline struct endpoint files_socket_name(uint64_t handle) {
    struct endpoint e = {.addr.family = 6};
    memcpy(e.addr.ip, &handle, sizeof handle);
    return e;
}

static inline uint64_t files_socket_handle(const struct endpoint *e) {
    uint64_t handle = 0;
    if (e->addr.family == 6)
        memcpy(&handle, e->addr.ip, sizeof handle);
    return handle;
}

/* A record of WALK's answer; `name_len` octets of name (LOOKUP's) and `len` of the answer's body follow, then zeroes up to a
 * multiple of 8. */
struct files_record {
    uint32_t
        opcode; /* FUSE_LOOKUP, FUSE_READLINK, FUSE_OPEN, FUSE_READ, FUSE_OPENDIR, FUSE_READDIRPLUS */
    int32_t error; /* 0 or -errno */
    uint64_t node; /* the request's nodeid */
    uint32_t name_len, len;
};
