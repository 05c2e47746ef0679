/* One direction of one TCP connection, put back in order from a third party's point of view: what the client sent, as far
 * as the target has acknowledged it. Knows no socket, no clock, no channel.
 *
 * Nobody resends anything to an observer, so two things take the place of a receiver's rules:
 *
 * - An octet is readable once the target's ACK covers it. That settles retransmission, drops in front of the target and
 *   segments the target did not believe. Packets are seen before the target handles them, hence an ACK beyond what was
 *   seen is a hole that nothing will ever fill: the end, REASSEMBLY_HOLE.
 * - Octets not yet acknowledged that come twice must be equal. A kernel may keep the first copy or the second (Linux keeps
 *   the first, but takes a new segment over a queued shorter one inside it), so "first wins" would be a guess about the
 *   target: when two copies differ, the end, REASSEMBLY_CONFLICT. What the target has acknowledged is settled, and later
 *   copies of it (keep-alive probes carry a garbage octet there) are not looked at.
 *
 * Memory: what is not acknowledged, out of order, or acknowledged and not yet consumed. See reassembly_budget. */
#pragma once

#include "native/view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What all connections of one owner hold together. A connection may hold REASSEMBLY_MOST, and never more than half of
 * what is left: then many slow ones share the room without ever taking the last of it from a fast one (Choudhury and
 * Hahne's dynamic thresholds, as in shared-memory switches). */
struct reassembly_budget {
    size_t held, limit; /* octets, headers of ours included */
};

#define REASSEMBLY_MOST (16u * 1024 * 1024) /* 128 ms of 1 Gbit/s to a peer that takes nothing */
#define REASSEMBLY_LATE 4096 /* segments beyond the first gap; searching them is linear */

enum reassembly_end {
    REASSEMBLY_OPEN,
    REASSEMBLY_EOF,      /* the target acknowledged the client's FIN */
    REASSEMBLY_RESET,    /* by either side */
    REASSEMBLY_HOLE,     /* see above; these three are the observer's own failures */
    REASSEMBLY_CONFLICT, /* see above */
    REASSEMBLY_OVERFLOW, /* the consumer was slower than the client */
};

struct reassembly_segment;

struct reassembly {
    struct reassembly_budget *budget;
    struct reassembly_segment *head, *tail;
    struct reassembly_segment *edge; /* the last one without a gap before it, or NULL */
    uint32_t next;                   /* first octet not consumed */
    uint32_t acked;                  /* the target has everything before it, FIN included */
    uint32_t whole;                  /* seen without a gap up to here, FIN not included */
    uint32_t fin;                    /* the FIN's place, if fin_seen */
    uint32_t late;                   /* segments after `edge` */
    size_t held;
    bool fin_seen;
    uint8_t end; /* enum reassembly_end */
};

/* `next`: the sequence number of the first octet. Holds memory of the budget until reassembly_drop. */
void reassembly_begin(struct reassembly *r, struct reassembly_budget *budget, uint32_t next);
void reassembly_drop(
    struct reassembly *r); /* gives all memory back; only reassembly_begin may follow */

void reassembly_client(struct reassembly *r,
                       const struct tcp_view *t); /* a packet of the client's, whole */
void reassembly_target(struct reassembly *r,
                       const struct tcp_view *t); /* the target's; the payload does not matter */

/* Octets that can be taken. After RESET and EOF these still come first; after the observer's own failures there are none,
 * because the consumer is to hear of those at once. */
size_t reassembly_readable(const struct reassembly *r);
int reassembly_peek(const struct reassembly *r, struct iovec *iov,
                    int count);                          /* how many were filled, in order */
void reassembly_consume(struct reassembly *r, size_t n); /* n <= readable */
