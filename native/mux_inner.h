/* What the files of the multiplexer share and nobody else sees: the link, its table of channels, its ring of waiters. */
#pragma once

#include "mux.h"
#include "mux_frame.h"
#include "mux_queue.h"

enum {
    CHANNEL_OPENING = 1, /* we sent OPEN */
    CHANNEL_OFFERED = 2, /* the peer sent OPEN, the owner has not decided */
    CHANNEL_OPEN = 4,    /* OPENED was said */
    CHANNEL_EOF_SENT = 8,
    CHANNEL_EOF_GOT = 16,
    CHANNEL_WANTS = 32,   /* the owner waits for room */
    CHANNEL_IN_RING = 64, /* it wants, has credit, and waits for the link's turn */
    CHANNEL_ACCEPT = 128, /* accepted inside mux_ops.open, before the mux had it */
    CHANNEL_FORGOTTEN = 256,
};

struct mux_table {
    struct channel **buckets;
    unsigned bits; /* 1 << bits buckets */
    uint32_t count;
};

struct mux {
    struct loop *loop;
    struct loop_fd io;
    struct task work; /* flush what was gathered, then serve the ring */
    struct task end;  /* the link has died: tell everybody */
    const struct mux_ops *ops;
    void *owner;

    struct mux_queue queue;
    bool blocked; /* the socket was full; EPOLLOUT is awaited */
    int broken;   /* errno of a write that failed; 0: none */
    uint8_t *in;  /* MUX_READ octets; in[start..filled) is not parsed yet */
    size_t start, filled;

    struct mux_table table;
    struct channel *ring; /* the next to be served; a circle */
    uint32_t waiting;     /* how many are in it */
    uint32_t own_next;    /* the id of our next channel */
    uint32_t peer_last;   /* the peer's last */
    uint64_t dropped;

    bool dead;  /* nothing is read or written any more */
    bool ended; /* and everybody has been told, or is being told */
    struct fault why;
    unsigned
        busy; /* callbacks of ours on the stack: memory is kept until the last of them returns */
    bool freed;
};

/* mux.c */
void mux_control(struct mux *m, const uint8_t *head, size_t n); /* sent at the end of the batch */
void mux_payload(struct mux *m, const struct iovec *frame, int count,
                 size_t n);   /* a head and n octets of payload */
void mux_kick(struct mux *m); /* work to do at the end of the batch */

/* mux_table.c */
bool table_init(struct mux_table *t);
void table_free(struct mux_table *t);
struct channel *table_find(const struct mux_table *t, uint32_t id);
struct channel *table_next(const struct mux_table *t,
                           size_t *cursor); /* any one at or after the cursor, or NULL */
void table_add(struct mux_table *t, struct channel *c);
void table_remove(struct mux_table *t, struct channel *c);

/* mux_channel.c */
void channel_attach(struct mux *m, struct channel *c, uint32_t id, uint32_t flags);
void channel_forget(struct channel *c);
/* What the peer said: OPEN, and any other frame. *wrong, if it breaks the protocol: what it sent. */
void channel_offer(struct mux *m, const struct frame *f, const char **wrong);
void channel_frame(struct mux *m, const struct frame *f, const char **wrong);
void channel_serve(struct mux *m); /* those in the ring, once each, while the socket takes it */
