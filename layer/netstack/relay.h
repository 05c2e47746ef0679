/* Octets between a flow's two halves, and the credit that bounds them.
 *
 * Up, app to channel: lwIP's window (TCP_WND) is given back as the channel takes octets, so a stalled link closes the window
 * of that connection alone. A packet is not copied between tun0 and the link.
 * Down, channel to app: the window granted to the agent (TCP_SND_BUF) is what lwIP may hold for the app, and on a kept link, which
 * may be long, more, which waits here if the app is slower than the link; it is granted again
 * as the app's kernel acknowledges, so a slow app stalls that channel alone.
 * A mirrored flow has no way up: what the app answers is counted and dropped at once. */
#pragma once

#include "layer/netstack/flow.h"

extern const struct channel_ops relay_ops;

void relay_attach(struct flow *f); /* its pcb calls us from now on */
void relay_detach(struct flow *f); /* and no more */
void relay_start(struct flow *f);  /* connected: what waited may go */
void relay_push(struct flow *f);   /* up, as far as there is room */
void relay_drop(struct flow *f);   /* frees what waits */

/* Too much waits in all, and here: what the app sends more is dropped, as a full router does, and comes again later. */
bool relay_full(const struct flow *f);

/* What an agent may send ahead for the app: the more connections, the less for each. */
uint32_t relay_window(const struct netstack *ns, const struct mux *m);
