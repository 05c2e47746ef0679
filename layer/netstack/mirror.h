/* Mirrored connections: an agent's OPEN becomes a connection to the app from the real client's address and port. */
#pragma once

#include "native/mux.h"

struct netstack;

/* Where in this namespace an agent's OPEN for `asked` arrives: what was sent to another replica's address is given to the
 * primary's of that family, because only an address of tun0 is local here. Loopback stays as it is. */
struct addr mirror_place(const struct netstack *ns, const struct addr *asked);

/* The channel of a new flow that is being connected, or NULL and *err: it cannot be. */
struct channel *mirror_tcp(struct netstack *ns, const struct channel_open *o, int *err);
