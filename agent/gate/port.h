/* One stolen port: its door, and the sessions that have a part in it, each in a slot that its connections know. Who has a port
 * whole is given its connections as they come; by its slot, only the requests of those that a node's own client shares with a
 * probe (node.h). */
#pragma once

#include "agent/gate/door.h"
#include "agent/gate/exchange.h"
#include "agent/gate/want.h"

struct gate;

/* A session keeps its slot until it is gone: without a rule it is given no new requests, and finishes those it has. */
struct port_slot {
    uint64_t session;
    uint32_t target;
    uint16_t app_port;
    bool ruled;                 /* it has a rule now */
    struct http_filter *filter; /* the slot's own; NULL: nobody's slot */
};

struct port {
    struct door door;
    struct gate *gate;
    struct port *next;
    struct exchange_rules rules; /* borrowed by the port's exchanges */
    bool whole;                  /* one of them has it whole */
    struct port_slot slot[EXCHANGE_APPS];
};

bool port_fits(const struct port *p, const struct want *w); /* there are slots enough */
/* First the slots of sessions that `w` does not have are freed: a bit for each in the result, to be said to every exchange at
 * this port before anything else. Then `w`'s rules come, whose filters are the port's from then on. */
uint32_t port_leave(struct port *p, const struct want *w);
void port_join(struct port *p, struct want *w);
int port_slot_of(const struct port *p, uint64_t session); /* or -1 */
/* The session's link is there, so new requests may be given to it; or is not. */
void port_link(struct port *p, uint64_t session, bool up);
void port_close(struct port *p);
