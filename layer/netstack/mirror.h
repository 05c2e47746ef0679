/* Mirrored connections: an agent's OPEN becomes a connection to the app from the real client's address and port. */
#pragma once

#include "native/mux.h"

struct netstack;

/* The channel of a new flow that is being connected, or NULL and *err: it cannot be. */
struct channel *mirror_tcp(struct netstack *ns, const struct channel_open *o, int *err);
