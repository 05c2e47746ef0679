/* What makes the target see the client and not the gate: for each of the gate's connections to the target an element of the
 * table's map, gate's port → client's address and port.
 *
 * An element is one netlink message on the table's own socket, without a parser: it is there before connect(2) and stays as
 * long as the connection, because the kernel looks it up once more should its connection tracking be emptied.
 *
 * The gate chooses its ports itself, among those that the target's kernel gives out, and shares them with nothing of its own that lives;
 * with SO_REUSEADDR a port of a connection that has just ended (TIME_WAIT) is as good as another. So as many connections
 * as there are such ports, about 28,000, and no more. */
#pragma once

#include "native/addr.h"
#include "native/fault.h"

#include <stdint.h>

struct clients;

/* One of the gate's ports, in use for a connection to the target. `port` 0: none. */
struct client_port {
    uint16_t port;
    uint8_t family;
};

/* `fd`: the table's socket. In the target's network namespace. */
struct clients *clients_new(int fd, struct fault *f);
void clients_free(struct clients *c);

/* Gives `sock`, which is about to be connected to `own`, a port of the gate's at that address (`scope`: of a link-local one), and
 * `peer`'s address and port in the eyes of whoever accepts there. 0, or -1. */
int clients_bind(struct clients *c, int sock, const struct endpoint *own,
                 const struct endpoint *peer, uint32_t scope, struct client_port *p,
                 struct fault *f);
/* Its socket is closed. */
void clients_release(struct clients *c, struct client_port *p);

/* Takes what connection tracking still remembers of our connections away: after an orderly end a client's port is as new. */
void clients_forget_tracked(struct clients *c);
