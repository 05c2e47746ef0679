/* Where a session's app may go out to from its targets: everywhere, nowhere, and not to a cloud's metadata services unless
 * that is allowed. Decides by addresses alone; who asks refuses with EACCES. */
#pragma once

#include "native/addr.h"

#include <stdbool.h>

struct reach {
    bool outgoing; /* anything at all */
    bool metadata; /* who reads the node's own credentials there is the node, not the target */
};

bool reach_allows(const struct reach *r, const struct addr *to);
