/* Connections that a port of the target's had before it was stolen: they stay with the target, and are counted; or they are
 * destroyed, so that their clients come again. By sock_diag(7), in the target's network namespace. */
#pragma once

#include "native/addr.h"
#include "native/fault.h"

#include <stdbool.h>
#include <stdint.h>

struct older {
    int fd; /* sock_diag, of the target's namespace */
    /* Whether this client's connection is the gate's own to the target: neither counted nor destroyed. */
    bool (*is_ours)(const struct older *o, const struct endpoint *client, uint16_t port);
};

int older_open(struct older *o, struct fault *f);
void older_close(struct older *o);

/* Established connections to `port` from elsewhere than loopback. Their number, or -1; with `destroy` they are reset, and it is
 * the number of those that could not be. */
int older_connections(struct older *o, uint16_t port, bool destroy, struct fault *f);
