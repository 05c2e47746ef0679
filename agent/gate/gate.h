/* What one gate's parts share, and what is decided once for all of its connections. */
#pragma once

#include "agent/gate/clients.h"
#include "agent/gate/control.h"
#include "agent/gate/door.h"
#include "agent/gate/handover.h"
#include "agent/gate/older.h"
#include "agent/gate/port.h"
#include "agent/gate/relay.h"
#include "agent/gate/table.h"
#include "agent/gate/tally.h"
#include "agent/gate/want.h"
#include "native/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct conn;

struct gate {
    struct loop *loop;
    struct table *table;
    struct clients *clients;
    struct port *ports; /* also those no longer stolen: a SYN may be under way to their door */
    uint32_t port_count;
    struct control control;
    struct handover handover;
    struct tallies tallies;
    struct older older;
    struct relay_desk desk;
    struct chunk_pool pool;
    struct splice_pool pipes;
    struct want *want; /* never NULL once the gate is open */
    struct conn *conns;
    uint32_t conn_count;
    uint64_t down[WANT_SESSIONS]; /* sessions whose link is not there */
    uint32_t down_count;
    bool draining; /* nothing is stolen any more; ends with the last connection */
    struct timer drain_end;
    uint64_t reset; /* connections that the drain's end has reset */
    uint8_t scratch[RELAY_READ];
};

/* In the target's network namespace; `table` is not made yet, and the caller's; `comment` says whose gate this is. The gate
 * runs from here on by `loop`, and stops that when it has drained. Also after a failure it is to be closed. */
int gate_open(struct gate *g, struct loop *loop, struct table *table, const char *comment,
              int control, int handover, struct fault *f);
void gate_close(struct gate *g);

bool gate_is_up(const struct gate *g, uint64_t session);
/* Said by a connection that is no more. */
void gate_conn_gone(struct gate *g);
