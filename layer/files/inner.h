/* The file system as its own files see it. */
#pragma once

#include "layer/files/ahead.h"
#include "layer/files/asks.h"
#include "layer/files/door.h"
#include "layer/files/filesystem.h"
#include "layer/files/kernel.h"
#include "layer/files/pages.h"
#include "layer/files/reads.h"
#include "layer/files/runs.h"
#include "layer/files/sockets.h"
#include "layer/files/tops.h"
#include "layer/files/walk.h"
#include "layer/files/watches.h"

#include "native/post.h"
#include "native/spares.h"
#include "native/stream.h"

#include <stdatomic.h>

/* Numbers of our own requests; the kernel's are below. */
#define FILESYSTEM_OWN (1ull << 63)

struct walk {                /* on its door thread's stack */
    uint64_t number, handle; /* of a connection */
    int error;
    bool done;
};

struct filesystem {
    struct filesystem_settings settings;
    int device, mount;
    struct spares spares; /* of answers with content */
    struct kernel kernel;
    struct door *door;
    struct ahead ahead;
    struct pages pages;
    struct runs runs;
    struct tops tops;
    struct watches watches;
    struct reads reads;
    struct post post;
    atomic_uint_fast64_t own; /* the last of our own numbers */
    pthread_mutex_t lock;     /* walks' ends */
    pthread_cond_t walked;
    atomic_uint_fast64_t asked, from_ahead;

    /* From here on the loop's thread's. */
    struct loop *loop;
    struct stream stream;
    struct mux *mux; /* NULL: none */
    uint32_t target;
    int refused; /* the last reason that was told */
    struct asks asks;
    struct messages held; /* while there is no channel */
    bool given_up;        /* it has been so for too long: nothing is held until there is one */
    struct timer patience, again;
    struct sockets sockets;
};

/* A request of ours, to be posted: zeroed but for its header. */
struct message *filesystem_own(struct filesystem *fs, uint32_t opcode, uint64_t node, size_t body);
/* Takes it. From any thread. false: there is nobody to take it any more, and it is freed. */
bool filesystem_post(struct filesystem *fs, struct message *m);
void filesystem_forget(struct filesystem *fs, uint64_t node);
void filesystem_release(struct filesystem *fs, uint64_t node, uint64_t handle);
