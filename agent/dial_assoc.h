/* An association of the app's inside the target, datagrams or echo: at most one socket per address family, made when it is
 * first needed; ended by DIAL_IDLE without traffic. What is sent and read on a socket is its kind's (dial_udp.c, dial_echo.c).
 *
 * Datagrams have no credit: what does not fit a socket's buffer, or the session's rate, is lost, as on any network. */
#pragma once

#include "agent/dial.h"

struct assoc;

struct assoc_socket {
    struct loop_fd io; /* fd -1: not made yet */
    struct assoc *owner;
    struct own *own;
    int family; /* 4 or 6 */
};

struct assoc_kind {
    int (*make)(struct assoc *a, int family); /* a socket; -1 and errno */
    /* 0, or the errno of this very datagram */
    int (*send)(struct assoc_socket *s, const struct endpoint *peer, const uint8_t *p, size_t n);
    void (*errors)(
        struct assoc_socket *s); /* tells what the error queue says, whole up to a bound */
    void (*take)(struct assoc_socket *s);
    bool owned; /* its sockets have endpoints of the agent's own (own.h) */
};

struct assoc {
    struct channel channel;
    struct dial dial;
    struct target *target;
    const struct assoc_kind *kind;
    struct assoc_socket v4, v6;
    struct timer idle;
    uint64_t used;       /* ns */
    bool spoke;          /* something has left by it */
    uint16_t identifier; /* an echo's, on the wire */
};

/* Its channel, accepted; NULL: no memory. */
struct assoc *assoc_open(struct target *t, const struct assoc_kind *kind);
void assoc_used(struct assoc *a); /* there is traffic */
/* This came from `peer`, for the app. */
void assoc_took(struct assoc *a, const struct endpoint *peer, const uint8_t *p, size_t n);
