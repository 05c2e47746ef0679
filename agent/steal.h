/* The engine's end of a hand-over: clients' connections that a gate (agent/gate) gives to apps, each a channel of a session's
 * data link.
 *
 * The gate sends one packet and one end of a socket pair for each connection; a channel STEAL_TCP is opened, and once the app
 * has accepted the two are joined (joint.h). What did not begin is refused, so that the target can have it.
 *
 *   ASKED --opened--> OPEN            told [16, conn]
 *   ASKED --reset, no link--> gone    told [17, conn, errno]; the pair is closed
 *   OPEN --both ends--> gone          the pair says so itself
 *   OPEN --reset--> LEFT              told [18, conn, errno]; the pair is closed when the gate has closed its end, since an
 *                                     end of ours could be read before the packet, and a broken answer is no whole one
 *   any --[2, conn]--> gone           the channel is reset
 *
 * Packets are msgpack arrays, the tag first (docs/plan-steal.md). What the gate's socket does not take is kept as a mark at the
 * connection or session it is about, so nothing is queued and nothing is lost. Runs on the loop's thread. */
#pragma once

#include "agent/desk.h"
#include "agent/shaper.h"
#include "native/mux.h"

/* Of one session, in its engine. */
struct steal_counters {
    uint64_t connections, octets;
    uint32_t open; /* now, asked for or joined */
};

/* Where one session's connections go, what counts them, and the rates of what the app says and is told. */
struct steal_way {
    struct mux *mux;
    struct steal_counters *counters;
    struct shaper *up, *down;
};

/* What is asked of the engine. */
struct steal_sessions {
    /* False and *err: they cannot go. */
    bool (*way)(void *owner, uint32_t session, struct steal_way *way, int *err);
    /* Calls `one` for each session there is. */
    void (*each)(void *owner, void (*one)(void *arg, uint32_t session, bool up), void *arg);
};

struct handover;

/* Takes `fd`, SOCK_SEQPACKET, also on failure. */
struct handover *handover_new(struct dial_desk *desk, int fd, const struct steal_sessions *sessions,
                              void *owner, struct fault *f);
void handover_free(struct handover *h); /* its connections are reset */

/* The session's link is there, or is not. */
void handover_session(struct handover *h, uint32_t session, bool up);
void handover_sessions(struct handover *h); /* the same of all of them */
/* Of this session, connections whose client spoke last: an answer may be on its way. */
/* Connections of this session that are open and idle, their app having spoken last, end in order from the app's side. */
void handover_hush(struct handover *h, uint32_t session);
uint32_t handover_unanswered(const struct handover *h, uint32_t session);
