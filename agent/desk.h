/* What all connections of an engine share: its loop, one buffer for all reading, and chunks for what waits. */
#pragma once

#include "native/backlog.h"
#include "native/loop.h"

#include <stdint.h>

#define DIAL_WINDOW                                                                                \
    (1024 *                                                                                        \
     1024) /* octets that one connection's backlog may hold; on a long way more (mux_window) */
#define DIAL_SCRATCH                                                                               \
    (1024 *                                                                                        \
     1024) /* one buffer for all reading: 16 of the largest datagrams, or 4 reads of a stream */

struct dial_desk {
    struct loop *loop;
    int home; /* the agent's own network namespace */
    uint8_t *scratch;
    struct chunk_pool pool;
    uint16_t echo_identifier; /* the last one used */
};
