/* Messages on a channel's stream: whole ones come out, whole ones go in, whatever frames carry them.
 *
 * A message begins with its own length (u32, itself included), as FUSE's do. What came is handed on in memory that the taker
 * frees; what is to go is queued and leaves as the channel has room: the queue's bound is the owner's, by `unsent`. */
#pragma once

#include "mux.h"
#include "post.h"

#include <stddef.h>
#include <stdint.h>

/* Made on any thread, handed on, freed by who has it last. */
struct message {
    struct post_item post;
    struct message *next;
    void *owner;
    uint32_t len;
    uint32_t error; /* the poster's */
    bool spare;     /* of spares.h: it has room for SPARES_ROOM */
    uint8_t data[] __attribute__((aligned(8)));
};

struct message *message_new(size_t len); /* NULL: no memory */

struct messages {
    struct message *first, **last;
};

void messages_init(struct messages *q);
void messages_put(struct messages *q, struct message *m);
void messages_push(struct messages *q, struct message *m); /* ahead of all others */
struct message *messages_take(struct messages *q);         /* NULL: none */
void messages_clear(struct messages *q);

struct stream;
struct spares;

struct stream_ops {
    /* Takes the message. stream_granted(its len) when it has been passed on. */
    void (*got)(struct stream *s, struct message *m);
    /* Octets have left; may be NULL. */
    void (*sent)(struct stream *s);
    /* The channel is no more, and what was not sent is freed: the last callback. */
    void (*ended)(struct stream *s, int err);
};

struct stream {
    struct channel channel;
    const struct stream_ops *ops;
    struct spares *spares; /* where messages come from and are left; the owner's */
    uint32_t least, most;  /* octets of a message that comes */
    struct message *partial;
    uint32_t have; /* octets of it */
    uint8_t head[4];
    struct messages out;
    size_t begun;  /* octets of the first of them that left */
    size_t unsent; /* octets of all */
};

extern const struct channel_ops stream_channel_ops;

void stream_init(struct stream *s, const struct stream_ops *ops, struct spares *spares,
                 uint32_t least, uint32_t most);
void stream_put(struct stream *s, struct message *m); /* takes it; an ended one drops it */
void stream_granted(struct stream *s, size_t n);
/* Ends the channel now; `ended` is called if it was there. */
void stream_end(struct stream *s, int err);
