/* One client's connection: to whom it goes, and its life from the accept to the last octet.
 *
 *     from the node → PROBING (is it the target's own probe?) → one of the following
 *     asked for → OFFERED (the app's, if it takes it) → RELAY with the app
 *                    └ refused ┐
 *     ─────────────────────────┴→ DIALLING (the target) → RELAY with the target
 *
 * Both of its sockets are reset unless both sides have ended in order: a truncated answer is an error and no clean end. */
#pragma once

#include "agent/gate/gate.h"
#include "agent/gate/port.h"

/* Takes the caller's fd, also on failure (which is said by a reset). */
void conn_new(struct port *port, const struct door_caller *caller);

/* All of those that a session's app has, is asked to have, or might get. */
void conn_link(struct gate *g, uint64_t session, bool up);
/* The port's slots (bits) are of sessions that are gone. */
void conn_gone(struct port *port, uint32_t slots);
void conn_drain(struct gate *g);
/* Whether this client is connected to the target by the gate. */
bool conn_is_ours(const struct gate *g, const struct endpoint *client, uint16_t port);
/* Every connection is reset. */
void conn_reset_all(struct gate *g);
