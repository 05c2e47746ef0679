/* A connection from the node's own address, at a port that the target is probed at: looked at, without being read, until it is
 * clear whether it is one of the target's own probes (probe.h). The target is dialled meanwhile, and who says nothing is its. */
#pragma once

#include "agent/gate/conn_inner.h"

bool node_may_probe(const struct conn *c);
void node_start(struct conn *c); /* goes on with the target's relay, or with conn_decide */
