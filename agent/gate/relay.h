/* Octets between two stream sockets, both ways: half-closes and resets cross as themselves. Knows no rule and no peer.
 *
 *   an end says EOF          → the other is shut for writing, once it has taken what came before
 *   both have, all is taken  → over, in order
 *   an end breaks            → what it had sent before is still passed on, then over, broken
 *
 * Credit: an end is not read while the other has not taken what it was given; so a direction holds RELAY_READ octets at most, or a
 * pipe's, and nothing while both keep up. */
#pragma once

#include "agent/gate/splice.h"
#include "native/backlog.h"
#include "native/loop.h"

#include <stdbool.h>
#include <stdint.h>

#define RELAY_READ BACKLOG_CHUNK

/* What all relays of a process share; borrowed. */
struct relay_desk {
    struct loop *loop;
    struct chunk_pool *pool;
    struct splice_pool *pipes;
    uint8_t *scratch; /* RELAY_READ octets */
};

struct relay_end {
    struct loop_fd io;        /* `fd` is set by the owner, and closed by it */
    struct splice_pipe *pipe; /* through which it gets what comes in whole buffers; or NULL */
    struct backlog out;       /* for this end, not taken yet */
    bool sized;               /* how much may lie in its socket is settled; else splice_from() */
    bool pair;                /* one end of a socket pair: gone without a word is broken, not EOF */
    bool eof;                 /* it has said EOF */
    bool ended;               /* of a pair: that it ends in order was said */
    bool doubted; /* of a pair: it has said EOF, or its other end is gone; `ended` tells which */
    bool shut;    /* the other's EOF was told to it */
    int broken;   /* errno of writing; from then on it is only read, to its end */
};

struct relay {
    struct relay_end end[2];
    const struct relay_desk *desk;
    /* Once, from the loop; `reset`: one of them broke. The owner stops the relay and closes both fds, with RST or in order. */
    void (*over)(struct relay *r, bool reset);
};

/* Both fds are connected; they may be registered with the loop already, for another `ready`. Octets that were read already go
 * first: relay_push before this. 1: it is over, in order, and `over` will not be called; 0; or -1. */
int relay_start(struct relay *r, struct fault *f);
/* `n` octets for end `to`; false: no memory. */
bool relay_push(struct relay *r, int to, const void *p, size_t n);
/* Of a pair: its other end ends in order. May be over then. */
void relay_ends(struct relay *r, int which);
/* What end `from` had sent is passed on, as far as it is taken now: for one that is known to have been reset. */
void relay_last_words(struct relay *r, int from);
/* Nothing is registered or kept any more; does nothing if it was not started. */
void relay_stop(struct relay *r);
