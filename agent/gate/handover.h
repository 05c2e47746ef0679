/* The gate's end of the hand-over with the agent's engine: one end of a socket pair and a few words for each connection that
 * an app is to have, and what became of it. Knows neither rules nor octets.
 *
 *     [1, conn, session, target index, client ip, client port, own ip, app port] + fd     [2, conn] abort
 *     [16, conn] accepted   [17, conn, errno] refused   [18, conn, errno] reset   [19, session, up]   [20, conn] ended
 *
 * Packets (SOCK_SEQPACKET), never waited for: an engine that does not take a packet now is one that has no time for a
 * connection either, and the connection is refused; an abort that is lost is said by the pair's end, which closes unshut. */
#pragma once

#include "native/addr.h"
#include "native/fault.h"
#include "native/loop.h"

#include <stdbool.h>
#include <stdint.h>

/* ENDED: both ways, in order; the pair's end closes, as it would if the engine had died. */
enum handover_answer { HANDOVER_ACCEPTED, HANDOVER_ENDED, HANDOVER_REFUSED, HANDOVER_RESET };

/* One connection handed over. Embedded in its owner, zeroed but for `answered`. After REFUSED and RESET, and after
 * handover_forget, it is zero again and is told nothing more. */
struct handover_offer {
    uint64_t number; /* 0: none */
    void (*answered)(struct handover_offer *o, enum handover_answer what, int err);
};

struct handover_words {
    uint64_t session;
    uint32_t target;
    uint16_t app_port;
    struct endpoint client;
    struct addr own; /* which of the target's addresses the client asked for */
};

struct handover_place {
    struct handover_offer *offer; /* NULL: free */
    uint32_t generation, next_free;
};

struct handover {
    struct loop *loop;
    struct loop_fd io;
    struct handover_place *places; /* places[0] is not used */
    uint32_t count, free;
    void (*link)(struct handover *h, uint64_t session, bool up);
    void (*gone)(struct handover *h); /* the engine is; every offer has been told RESET */
};

/* `fd`, `link` and `gone` stay as they are until handover_close. */
int handover_open(struct handover *h, struct loop *loop, int fd, struct fault *f);
void handover_close(struct handover *h);

/* The gate's end of the pair, non-blocking: the owner's; or -1, and the offer is none. */
int handover_offer(struct handover *h, struct handover_offer *o, const struct handover_words *w,
                   struct fault *f);
/* `to`, with its own `answered`, is what is told from now on; `from` is none. */
void handover_move(struct handover *h, struct handover_offer *from, struct handover_offer *to);
/* `abort`: the client has reset it. Does nothing for none. */
void handover_forget(struct handover *h, struct handover_offer *o, bool abort);
