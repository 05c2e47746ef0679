/* What the files of the multiplexer share and nobody else sees: the link, its table of channels, its ring of waiters. */
#pragma once

#include "mux.h"
#include "mux_frame.h"
#include "mux_kept.h"
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
    CHANNEL_HASTENS = 512,
};

struct mux_table {
    struct channel **buckets;
    unsigned bits; /* 1 << bits buckets */
    uint32_t count;
};

/* What a link that is kept has besides (mux_resume.c). */
struct mux_kept {
    struct kept *sent;   /* NULL: the link is not kept */
    uint64_t received;   /* octets that have come */
    uint64_t told;       /* of them, those that an ACK was said for */
    uint64_t heard, due; /* ns: when the last of them came; when the next ACK is due */
    struct timer beat;
    uint32_t hasty; /* channels that were hastened */
    bool cut;       /* there is no socket */
};

struct mux {
    struct loop *loop;
    struct loop_fd io;
    struct task work; /* flush what was gathered, then serve the ring */
    struct task end;  /* the link has died, or was cut: tell everybody */
    const struct mux_ops *ops;
    void *owner;

    struct mux_queue queue; /* of a link that is not kept */
    struct mux_kept kept;
    bool blocked; /* the socket was full: EPOLLOUT is awaited; or there is none */
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
/* It lost its socket, or one is taken from it: CUT if it is kept, else dead. */
void mux_lost(struct mux *m, int err, const char *text);
int mux_socket(struct mux *m, int fd, struct fault *f); /* is read and written from now on */

static inline size_t mux_unsent(const struct mux *m) {
    return m->kept.sent != NULL ? kept_unsent(m->kept.sent) : m->queue.used;
}

/* What may be put before the marks: of what is not sent, and of what is not acknowledged. */
static inline size_t mux_space(const struct mux *m) {
    size_t unsent = mux_unsent(m), space = unsent < MUX_QUEUE ? MUX_QUEUE - unsent : 0;
    if (m->kept.sent == NULL)
        return space;
    size_t held = kept_held(m->kept.sent), more = held < MUX_KEPT ? MUX_KEPT - held : 0;
    return m->kept.cut ? 0 : space < more ? space : more;
}

/* Nobody is served now: the socket's EPOLLOUT, the peer's ACK or mux_resume begins it again. */
static inline bool mux_stalled(const struct mux *m) {
    return m->blocked || (m->kept.sent != NULL && kept_held(m->kept.sent) >= MUX_KEPT);
}

/* mux_resume.c: what a kept link does besides; nothing on others */
void mux_came(struct mux *m, size_t n); /* so many octets were read */
void mux_along(struct mux *m);          /* something is said of what came */
void mux_acked(struct mux *m, uint64_t received, const char **wrong);
void mux_cut_off(struct mux *m);         /* UP to CUT; nobody is told */
void mux_hasty(struct mux *m, int more); /* so many more channels are hastened */

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
