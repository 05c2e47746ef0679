/* Whether the app has accepted a stolen connection, before anything of it is said to the app.
 *
 * A kernel shakes hands for a server that is not looking. What lies in a listener's queue when that is closed is reset, and from
 * outside such a reset is like that of a server which has read a request and died of it. So an agent is told that its connection
 * is there only when a process has it (kernel fact: until then it has no inode); until then nothing has been said to anybody,
 * and a reset is a refusal, after which the target is asked. The kernel tells nobody of accept(2): it is asked, first when an app
 * that was asleep can have woken, then after a part of the time that has gone by.
 *
 * Rejected: to say the octets at once and hold a copy of them, for an answer that comes a hop earlier (two parties would have to
 * agree on what of it was read); destroyed sockets' notices (NETLINK_SOCK_DIAG's multicast group: a queue's are wiped first,
 * like those of a server that has read all and resets); a listener of ours behind the app's (who binds its port again, as
 * reloading servers do, would meet EADDRINUSE). */
#pragma once

#include "layer/netstack/flow.h"

struct accepted {
    struct link_node waiting; /* flows */
    struct timer timer;
    uint64_t last; /* ns; when the youngest of them began to wait */
};

void accepted_init(struct netstack *ns);
void accepted_stop(struct netstack *ns);

/* Its handshake is over: IN_ACCEPTED, for a mirrored one at once, or IN_VANISHED will be its next input, if nothing else is. */
void accepted_wait(struct flow *f);
/* The app has said something on it. */
void accepted_heard(struct flow *f);
