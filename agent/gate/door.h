/* One stolen port's door: listening sockets at a port that nobody in the target uses or is given, and for each client who is
 * redirected there its address and the one it asked for. Knows no rule.
 *
 * The door is reachable at the target's addresses, by nature of a redirect. What asked for that very port is not ours and closed. */
#pragma once

#include "native/addr.h"
#include "native/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct door_caller {
    int fd; /* non-blocking, SO_LINGER{1, 0}: its end is a reset until somebody says otherwise */
    struct endpoint peer, own;
    uint32_t scope; /* of link-local addresses */
};

struct door {
    struct loop *loop;
    struct loop_fd io[2]; /* IPv4, IPv6; either may be missing: fd -1 */
    struct timer pause;   /* while there are no descriptors left */
    uint16_t stolen;      /* the target's port that is redirected here */
    uint16_t port;
    void (*called)(struct door *d, const struct door_caller *caller); /* the fd is the callee's */
};

/* In the target's network namespace. `called` and `stolen` stay as they are. */
int door_open(struct door *d, struct loop *loop, struct fault *f);
void door_close(struct door *d);
