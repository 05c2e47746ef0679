/* A connection from the node's own address, at a port that the target is probed at: looked at, without being read, until it is
 * clear whether it is one of the target's own probes (probe.h). The target is dialled meanwhile, and who says nothing is its.
 * A client of HTTP/2 that waits for the server's settings, or has them before it speaks, is answered by the target and judged
 * by each of its requests (filtered.h). */
#pragma once

#include "agent/gate/conn_inner.h"

bool node_may_probe(const struct conn *c);
void node_start(
    struct conn *c); /* goes on with the target's relay, filtered_start or conn_decide */
