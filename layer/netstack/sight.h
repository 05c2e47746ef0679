/* One flow in lwIP's sight at a time, so that no packet costs more because there are other connections.
 *
 * lwIP keeps its connections in singly linked lists and walks them for every segment, bind and tick. Here the lists are empty
 * except while a call about one flow is under way, when they hold just its pcb: finding the flow is our table's work. Only
 * those flows are linked for lwIP's clock that have something to wait for (data or a FIN that is not acknowledged, a
 * handshake), so an idle connection costs memory and nothing else, and an idle netstack has no tick at all.
 *
 * Rejected: a patched lwIP (a fork to maintain), a pcb list for each hash bucket by redefining the list's name (the timers and
 * tcp_bind walk all of them then). */
#pragma once

#include "layer/netstack/flow.h"

/* Around every call into lwIP that looks at its lists: tcp_input, tcp_abort, tcp_bind, tcp_connect. They do not nest:
 * callbacks of lwIP never make such a call, they leave that to a task (flow_reap, sight_output). */
void sight_enter(struct flow *f);
void sight_leave(struct flow *f);

/* After any other call into lwIP about this flow: its timers may have something to do, or nothing any more. */
void sight_settle(struct flow *f);

/* tcp_output for this flow after the batch, so that what one batch brings leaves in as few packets as it can. */
void sight_output(struct flow *f);

void sight_init(struct netstack *ns);
void sight_stop(struct netstack *ns); /* its timers */
