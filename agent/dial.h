/* Outgoing: sockets born in the target's network namespace, each tied to one channel of a data link.
 *
 * Because a socket belongs for good to the namespace it was made in, its routes, firewall, source address and name
 * servers are the target's, while the agent's thread stays at home (netns.h). Every such socket carries DIAL_MARK.
 * Everything runs on the loop's thread. */
#pragma once

#include "agent/desk.h"
#include "agent/outgoing.h"
#include "agent/own.h"
#include "native/addr.h"
#include "native/mux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIAL_MARK 0x4d52 /* SO_MARK of the agent's own sockets */
#define DIAL_IDLE                                                                                  \
    (180ull * 1000 * 1000 *                                                                        \
     1000) /* ns: an association without traffic is closed, as conntrack's stream time-out */

/* One socket's membership in its target, embedded in its owner; `drop` closes it at once, as `err`. */
struct dial {
    struct dial *next, *prev;
    void (*drop)(struct dial *self, int err);
};

struct target {
    struct dial_desk *desk;
    int netns;
    struct own_table *own;
    struct outgoing *out; /* its session's */
    struct dial dials;    /* a ring's head */
};

/* Takes a duplicate of `netns`. `out` outlives it. 0, or -1. */
int target_init(struct target *t, struct dial_desk *desk, int netns, struct outgoing *out,
                struct fault *f);
void target_fini(struct target *t, int err); /* resets what is open, as `err` */

/* For mirror.c: whether this endpoint is (or was, a moment ago) a socket of the agent's. `ctx` is a struct target. */
bool dial_owns(void *ctx, const struct endpoint *e);

/* A channel that the bridge opens: the channel, or NULL and why. */
struct channel *dial_open(struct target *t, const struct channel_open *o, int *err);
struct channel *dial_tcp(struct target *t, const struct channel_open *o, int *err);
struct channel *dial_udp(struct target *t, const struct channel_open *o, int *err);
struct channel *dial_echo(struct target *t, const struct channel_open *o, int *err);

/* For the three. dial_socket: non-blocking, marked; an fd, or -1 and errno. dial_own: what getsockname(2) says of it. */
int dial_socket(struct target *t, int domain, int type, int protocol);
struct own *dial_own(struct target *t, int fd);
void dial_join(struct target *t, struct dial *d, void (*drop)(struct dial *self, int err));
void dial_leave(struct dial *d);
