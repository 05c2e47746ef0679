/* Mirrored and stolen connections: an agent's OPEN becomes a connection to the app from the real client's address and port.
 * They differ in one thing: what the app answers to a mirrored client is dropped, what it answers to a stolen one is carried. */
#pragma once

#include "native/mux.h"

struct netstack;

/* Where in this namespace an agent's OPEN for `asked` arrives: what was sent to another replica's address is given to the
 * primary's of that family, because only an address of tun0 is local here. Loopback stays as it is. */
struct addr mirror_place(const struct netstack *ns, const struct addr *asked);

/* Whether nobody has these four numbers. */
typedef bool mirror_is_free(struct netstack *ns, const struct endpoint *app,
                            const struct endpoint *client);
/* The port by which the app sees this client: its own, or, where another replica's client has that, one that is free. False:
 * none was found. */
bool mirror_client(struct netstack *ns, const struct endpoint *app, struct endpoint *client,
                   mirror_is_free *is_free_pair);

/* The channel of a new flow that is being connected (MIRROR_TCP, STEAL_TCP), or NULL and *err: it cannot be. An app that
 * refuses it resets the channel, as ECONNREFUSED. */
struct channel *mirror_tcp(struct netstack *ns, const struct channel_open *o, int *err);
