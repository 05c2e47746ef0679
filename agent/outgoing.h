/* What one session's app does from all its targets together: where it may go, how fast each way, and how much it was. */
#pragma once

#include "agent/reach.h"
#include "agent/shaper.h"

struct outgoing {
    struct reach reach;
    struct shaper up, down; /* from the app, and to it */
    uint64_t opened;        /* connections begun, and associations that sent something */
};
