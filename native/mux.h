/* One data link: frames in and out of a stream socket, channels with credit, no channel able to block another.
 *
 * Both ends use this file; which side opens odd channel numbers is said at mux_new. Everything runs on the loop's thread.
 *
 * Credit: the receiver of a channel states its window in OPEN/OPENED and grants as it passes on; a sender never has more
 * on the way. At zero credit only that channel stops. The link's own queue is bounded too (MUX_QUEUE): above it no
 * channel has room, and as it drains, channels that asked (channel_want_room) are served in turn, one frame each.
 *
 * A channel is embedded in its owner's struct. The mux forgets it after: channel_reset (no further callback), ops->reset
 * (the last callback), or when EOF went both ways (inside channel_eof if ours was second, after ops->eof if theirs was).
 * `channel_attached` tells. Calls on a forgotten channel do nothing. The owner frees only forgotten channels.
 * Owners may call anything, channel_reset included, from inside a callback, and may free inside the last one.
 */
#pragma once

#include "addr.h"
#include "fault.h"
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define MUX_FRAME_DATA 65536        /* octets of payload in one DATA frame at most */
#define MUX_FRAME_MAX (65536 + 128) /* octets of any frame of a data link at most, its length word aside */
#define MUX_QUEUE (1024 * 1024)     /* above so much unsent, no channel has room */

enum channel_kind {
    CHANNEL_TCP = 1,
    CHANNEL_UDP = 2,
    CHANNEL_ECHO = 3,
    CHANNEL_MIRROR_TCP = 17,
    CHANNEL_MIRROR_UDP = 18,
};

struct channel_open {
    enum channel_kind kind;
    uint32_t window; /* what the opener takes */
    struct endpoint source, destination;
    uint32_t target;
};

struct mux;
struct channel;

struct channel_ops {
    void (*opened)(struct channel *c);
    void (*data)(struct channel *c, const uint8_t *p, size_t n); /* take all of it; channel_grant when passed on */
    void (*datagram)(struct channel *c, const struct endpoint *peer, const uint8_t *p, size_t n);
    void (*unreachable)(struct channel *c, const struct endpoint *peer, int err);
    void (*room)(struct channel *c); /* channel_room() > 0 again; once for each channel_want_room */
    void (*eof)(struct channel *c);
    void (*reset)(struct channel *c, int err); /* the peer's RESET, or the link's end (ENETRESET) */
};

struct channel {
    const struct channel_ops *ops;
    struct mux *mux; /* NULL: forgotten, or never opened */
    uint32_t id;
    uint32_t flags;     /* the mux's */
    int64_t credit;     /* octets we may send */
    int64_t window;     /* octets the peer may still send */
    uint32_t ungranted; /* passed on, not yet told */
    struct channel *hash_next;
    struct channel *ring_next, *ring_prev; /* those that wait for room */
};

struct mux_ops {
    /* The peer opens a channel: give it one (then channel_accept or channel_refuse, now or later), or NULL and *err. */
    struct channel *(*open)(void *owner, const struct channel_open *o, int *err);
    /* The link has ended (peer closed it, broke the protocol, or the socket failed); all channels have been reset.
     * The owner calls mux_free, now or later. */
    void (*gone)(void *owner, const struct fault *why);
};

/* Takes `fd` (made non-blocking; closed by mux_free, also on failure). `odd`: this side's channels are odd (the bridge). */
struct mux *mux_new(struct loop *l, int fd, bool odd, const struct mux_ops *ops, void *owner, struct fault *f);
void mux_free(struct mux *m); /* resets what is still open (ops->reset, ENETRESET), sends nothing more, closes */
uint32_t mux_channels(const struct mux *m);
uint64_t mux_datagrams_dropped(const struct mux *m);

/* Our side opens. `o->window` is what we take. */
void channel_open(struct mux *m, struct channel *c, const struct channel_ops *ops, const struct channel_open *o);
void channel_accept(struct channel *c, const struct channel_ops *ops, uint32_t window);

size_t channel_room(const struct channel *c); /* octets that may be sent now: min(credit, the link's room) */
void channel_want_room(struct channel *c);
void channel_send(struct channel *c, const void *p, size_t n); /* n <= channel_room(c), else CHECK fails */
void channel_sendv(struct channel *c, const struct iovec *iov, int count);
void channel_grant(struct channel *c, size_t n); /* told to the peer in steps of a quarter window, at once if it starves */
void channel_eof(struct channel *c);
void channel_reset(struct channel *c, int err); /* also refuses an OPEN */
bool channel_attached(const struct channel *c);

/* No credit: false when the link's queue was above its mark and the datagram was dropped. */
bool channel_datagram(struct channel *c, const struct endpoint *peer, const void *p, size_t n);
void channel_unreachable(struct channel *c, const struct endpoint *peer, int err);
