/* A stream socket and a channel, joined: what one says the other does, octets, ends and errors, until both directions are done.
 *
 *   socket EOF -> channel_eof; channel EOF, once all is written -> shutdown(SHUT_WR); both -> over, in order.
 *   socket error -> channel_reset, over; channel RESET -> over.
 *
 * Credit: what the socket took is granted; what it did not take waits in `out`, a window at most. Without room in the
 * channel the socket is not read, so its own window closes towards whoever writes to it. Where it is held to a rate
 * (shaper.h), waiting for its turn is the same: what is to be written waits in `out`, what is to be read in the socket.
 *
 * An error of the socket is not told before what it had received has been: recv(2) hands that out first, and a server
 * that answers early and closes on unread data (RST) would otherwise lose its answer.
 *
 * It knows nothing of where the socket leads; its owner makes both ends and has them back at the end. */
#pragma once

#include "agent/desk.h"
#include "agent/shaper.h"
#include "native/mux.h"

struct joint {
    struct channel channel; /* opened, or accepted with joint_channel_ops, by the owner */
    struct loop_fd io;
    struct dial_desk *desk;
    struct backlog out;
    int write_error;  /* errno of send(2); from then on only reading goes on, to its end */
    bool socket_eof;  /* told to the channel */
    bool channel_eof; /* shutdown(2) as soon as `out` is empty */
    bool wants_room;
    bool asked; /* the last octets went into the channel: an answer may be on its way */
    struct shaper *writes, *reads;   /* of what goes into the socket, and comes out */
    struct shaped to_write, to_read; /* its places in their queues */
    uint64_t *written, *read; /* what went into the socket, and came out, is added here; not NULL */
    void (*opened)(
        struct joint *self); /* the peer has opened the channel that the owner asked for */
    /* The last call: the channel is forgotten, the socket is out of the loop and still open, the owner's to close. 0: all was
     * said and heard, both ways; else why not. */
    void (*over)(struct joint *self, int err);
};

extern const struct channel_ops joint_channel_ops;

/* `io.fd` has been added to the loop by its owner, and is connected; the channel may carry octets now or soon. */
void joint_start(struct joint *j);
/* At once: the channel is reset as `err`, then `over`. Also ahead of joint_start. */
void joint_fail(struct joint *j, int err);
/* What is at the channel's other end says nothing more, and so does this: as after its EOF. Over once the socket has ended too. */
void joint_hush(struct joint *j);
