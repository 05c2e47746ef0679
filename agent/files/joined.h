/* What is said over a Unix socket of the target's: a channel UNIX, joined to the connection that a service has as a handle. */
#pragma once

#include "agent/desk.h"
#include "agent/outgoing.h"
#include "native/mux.h"

struct joined;

/* Takes the connected `fd`, also on failure: NULL and why. A member of `list`, whose head stays where it is, until it is over. */
struct channel *joined_new(struct joined **list, struct dial_desk *desk, struct outgoing *out,
                           struct mux *m, int fd, int *err);
/* All of the list, now. */
void joined_end(struct joined **list, int err);
