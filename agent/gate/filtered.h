/* A client's connection at a port that is stolen by filter: couples the sockets of its parties (the client, the target, an app
 * for each session that has taken a request) with the exchange that decides (exchange.h).
 *
 * Credit: a party is read while what it sent is taken; what the exchange does not take yet waits in a buffer of EXCHANGE_HEAD octets, and
 * with that full the party is not read. Such a buffer is there only while something is in it: a bystander that keeps up costs
 * none. What a party does not take waits in its backlog, which the exchange bounds. */
#pragma once

#include "agent/gate/conn_inner.h"

/* Takes the client's fd from `c`, and the target's if it is dialled already. False: no memory or no socket; the client's is left. */
bool filtered_start(struct conn *c);
/* Nothing of it is left; the client's and the target's sockets too, with RST or in order. */
void filtered_free(struct filtered *f, bool reset);

/* Of a slot at its port. After each of these the connection may be no more. */
void filtered_link(struct filtered *f, unsigned slot, bool up);
void filtered_gone(struct filtered *f, uint32_t slots); /* bits */
void filtered_drain(struct filtered *f);
