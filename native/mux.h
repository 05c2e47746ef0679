/* One data link: frames in and out of a stream socket, channels with credit, no channel able to block another.
 *
 * Both ends use this file; which side opens odd channel numbers is said at mux_new. Everything runs on the loop's thread.
 *
 * Credit: the receiver of a channel states its window in OPEN/OPENED and grants as it passes on; a sender never has more
 * on the way. At zero credit only that channel stops. The link's own queue is bounded too (MUX_QUEUE): above it no
 * channel has room, and as it drains, channels that asked (channel_want_room) are served in turn, one frame each.
 *
 * A link may be kept (mux_keep): then its socket's end is not its own. It is CUT until mux_resume gives it another socket,
 * on which each side goes on from the octet that the other has; its channels have no room meanwhile and notice nothing else.
 *
 *     UP --the socket ended, failed, or was silent for MUX_SILENT; mux_cut--> CUT --mux_resume--> UP
 *     UP, CUT --Goodbye, a broken protocol, or a queue that is full--> ended (ops->gone)
 *
 * A channel is embedded in its owner's struct, zeroed. The mux forgets it in channel_reset (no further callback), ahead of
 * ops->reset (the last callback), or when EOF went both ways: inside channel_eof if ours was second, ahead of ops->eof,
 * then the last callback, if theirs was. `channel_attached` tells, inside the callback too. Calls on a forgotten channel
 * do nothing. The owner frees only forgotten channels. Owners may call anything, channel_reset and mux_free included,
 * from inside a callback, and may free inside the last one. A member of the ops that is NULL is not called.
 */
#pragma once

#include "addr.h"
#include "fault.h"
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Octets of payload in one DATA frame at most; of any frame at most, its length word aside; and how much may wait unsent
 * before no channel has room. */
#define MUX_FRAME_DATA 65536
#define MUX_FRAME_MAX  (65536 + 128)
#define MUX_QUEUE      (1024 * 1024)
#define MUX_GRANT_STEP (256 * 1024)
#define MUX_WIDE       (1024 * 1024)

/* Of a link that is kept: what the peer has not acknowledged before no channel has room; after how many octets, or how much
 * time (ns), it is acknowledged; and the silence (ns) that is a cut: three acknowledgements missing. */
#define MUX_KEPT      (16 * 1024 * 1024)
#define MUX_ACK_EVERY (1024 * 1024)
#define MUX_ACK_ALONG (64 * 1024) /* after so many already, when a grant is said anyway */
#define MUX_BEAT      (5ull * 1000 * 1000 * 1000)
#define MUX_SILENT    (3 * MUX_BEAT)
#define MUX_HASTE     (1ull * 1000 * 1000 * 1000) /* in the place of MUX_BEAT: mux_hasten */
/* The window of a channel of it, while there are few: 50 ms at 1 Gbit/s are 6.25 MB, and a sixteenth may be passed on and not
 * yet granted. What all of them may hold then. */
#define MUX_WINDOW      (8 * 1024 * 1024)
#define MUX_WINDOWS_ALL (8 * MUX_WINDOW)

enum channel_kind {
    CHANNEL_TCP = 1,
    CHANNEL_UDP = 2,
    CHANNEL_ECHO = 3,
    CHANNEL_FILES = 4,
    CHANNEL_MIRROR_TCP = 17,
    CHANNEL_MIRROR_UDP = 18,
    CHANNEL_STEAL_TCP = 19,
    CHANNEL_UNIX = 22,
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
    /* Octets of the stream, to be taken whole; channel_grant when they have been passed on. */
    void (*data)(struct channel *c, const uint8_t *p, size_t n);
    void (*datagram)(struct channel *c, const struct endpoint *peer, const uint8_t *p, size_t n);
    void (*unreachable)(struct channel *c, const struct endpoint *peer, int err);
    /* channel_room() > 0 again; once for each channel_want_room. */
    void (*room)(struct channel *c);
    void (*eof)(struct channel *c);
    /* The peer's RESET, or the link's end (ENETRESET). The last callback. */
    void (*reset)(struct channel *c, int err);
};

struct channel {
    const struct channel_ops *ops;
    struct mux *mux; /* NULL: forgotten, or never opened */
    uint32_t id;
    uint32_t flags;     /* the mux's */
    int64_t credit;     /* octets we may send */
    int64_t window;     /* octets the peer may still send */
    uint32_t full;      /* the window as it was stated */
    uint32_t ungranted; /* passed on, not yet told */
    struct channel *hash_next;
    struct channel *ring_next, *ring_prev; /* those that wait for room */
};

struct mux_ops {
    /* The peer opens a channel: give it one (then channel_accept, now or later, or channel_reset, later), or NULL and
     * *err. Its `ops` are set before it is returned, for it may be reset, or get a datagram, before it is accepted. */
    struct channel *(*open)(void *owner, const struct channel_open *o, int *err);
    /* The link has ended (peer closed it, broke the protocol, or the socket failed); all channels have been reset.
     * The owner calls mux_free, now or later. */
    void (*gone)(void *owner, const struct fault *why);
    /* A kept link has lost its socket, which is closed. The owner calls mux_resume or mux_free, now or later. */
    void (*cut)(void *owner, const struct fault *why);
};

/* Takes `fd` (made non-blocking; closed by mux_free, also on failure). `odd`: this side's channels are odd (the bridge). */
struct mux *mux_new(struct loop *l, int fd, bool odd, const struct mux_ops *ops, void *owner,
                    struct fault *f);
/* For a link on which nobody waits by the microsecond: more may lie in its socket at a time (MUX_WIDE), so that its two ends take turns
 * less often. A Unix socket alone: TCP finds by itself what its way holds, unless it is told. */
void mux_wide(int fd);
/* Resets what is still open (ops->reset, ENETRESET), sends nothing more, closes. `gone` is not called. */
void mux_free(struct mux *m);

/* Before anything is sent: the peer does the same, and the link survives its socket. 0, or -1 (ENOMEM). */
int mux_keep(struct mux *m, struct fault *f);
/* Takes a kept link off its socket, now and without a callback (one that is due is not made). Octets that have come: what
 * the peer's mux_resume is to be told. On a link that is CUT: that again. */
uint64_t mux_cut(struct mux *m);
/* Takes `fd`, also on failure. `received`: what the peer's mux_cut returned. One that is UP is cut first. -1: the link has
 * ended, or the peer claims octets that were never sent, or lacks some that it has acknowledged; it stays CUT. */
int mux_resume(struct mux *m, int fd, uint64_t received, struct fault *f);

/* Somebody waits for what this channel carries, who knows nothing of links and must not be left waiting by one that was cut
 * without a word: while it is open both ends of a kept link acknowledge every MUX_HASTE, and three of these in silence are a
 * cut. STEAL_TCP is hastened by itself, at both ends, since both must know. Until the channel is forgotten; again: nothing. */
void mux_hasten(struct channel *c);

/* Whether there is room for the beginning and end of another channel: always while the peer reads. While it does not, or
 * the link is CUT, an owner that goes on opening channels would at last end the link. */
bool mux_opens(const struct mux *m);
uint32_t mux_channels(const struct mux *m);
/* What the receiver of one more channel states as its window: `usual`, or, on a kept link, which may be a long one, a power of
 * two up to MUX_WINDOW, the fewer channels the more. Only who is slower than the link ever holds so much. */
uint32_t mux_window(const struct mux *m, uint32_t usual);
uint64_t mux_datagrams_dropped(const struct mux *m);

/* Our side opens. `o->window` is what we take. Datagrams may follow at once, octets after ops->opened. On a link that has
 * ended the channel is forgotten at once, without a callback. */
void channel_open(struct mux *m, struct channel *c, const struct channel_ops *ops,
                  const struct channel_open *o);
void channel_accept(struct channel *c, const struct channel_ops *ops, uint32_t window);

/* Octets that may be sent now: the smaller of the channel's credit and the link's room. */
size_t channel_room(const struct channel *c);
/* Asks for ops->room: as soon as there is room, at the end of this batch if there is already. */
void channel_want_room(struct channel *c);
/* n <= channel_room(c) of just now, or CHECK fails. */
void channel_send(struct channel *c, const void *p, size_t n);
void channel_sendv(struct channel *c, const struct iovec *iov, int count);
/* `n` octets have been passed on. Told to the peer in steps: MUX_GRANT_STEP of a large window, a quarter of a small one, less
 * when it has little left. */
void channel_grant(struct channel *c, size_t n);
void channel_eof(struct channel *c);
void channel_reset(struct channel *c, int err); /* also refuses an OPEN */
bool channel_attached(const struct channel *c);

/* No credit: false when the link's queue was above its mark and the datagram was dropped. n <= MUX_FRAME_DATA. */
bool channel_datagram(struct channel *c, const struct endpoint *peer, const void *p, size_t n);
void channel_unreachable(struct channel *c, const struct endpoint *peer, int err);
