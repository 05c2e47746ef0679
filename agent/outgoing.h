/* What one session's app does from all its targets together: where it may go, how fast each way, and how much it was. The
 * rates hold what it is given of their clients' connections and of their files too (steal.h, files/files.h): one way from a
 * node is one way, whatever goes by it. */
#pragma once

#include "agent/reach.h"
#include "agent/shaper.h"

struct outgoing {
    struct reach reach;
    struct shaper up, down;  /* from the app, and to it */
    uint64_t opened;         /* connections begun, and associations that sent something */
    uint64_t sent, received; /* octets of these, that the rates let pass */
};
