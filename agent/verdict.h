/* Whether a connection that packets show is the target's own: whether a socket in its namespace has exactly its ends.
 *
 * AF_PACKET sees packets before PREROUTING, so what a mesh or Docker redirects (ciphertext, as a rule) appears here under
 * the port it was sent to and once more, decrypted, on the loopback interface. Only the second has the socket.
 *
 * A packet is looked at when its ring block is handed over, up to SNIFF_RETIRE after it passed: by then the socket of a
 * short connection may be gone, and absent looks like never there. Then, in this order: what was last seen for this
 * address, port and interface; whether connection tracking, which remembers a while longer, redirected it; whether
 * somebody listens there at all.
 *
 * Beside a gate (agent/gate) the socket is no proof: what came by the wire and was redirected to the gate has the same ends
 * as what the gate passes on over lo, from the client's own address; or, if the app answered, there is no such socket, and
 * what was last seen is of another time. So of what came by the wire connection tracking is asked first. Two system call
 * pairs for each connection then, one on lo, two more only until something is known. */
#pragma once

#include "native/addr.h"

#include <stdbool.h>

struct verdict;

/* Takes `diag_fd` (sockdiag_open's). NULL: no memory; then it is closed. */
struct verdict *verdict_new(int diag_fd);
void verdict_free(struct verdict *v);
void verdict_conntrack(
    struct verdict *v,
    int fd); /* takes it; see conntrack.h. Without it nothing counts as redirected */

/* `origin`: who began it, as verdict_origin says; else `peer` again. */
bool verdict_is_own(struct verdict *v, const struct endpoint *own, const struct endpoint *peer,
                    const struct endpoint *origin, int ifindex, bool loopback);
/* Of a connection on lo: true, and under which address its answers go to who began it, where its source is rewritten (the gate's
 * connections come from their client's own address). */
bool verdict_origin(struct verdict *v, const struct endpoint *own, const struct endpoint *peer,
                    struct endpoint *origin);
bool verdict_is_alive(struct verdict *v, const struct endpoint *own, const struct endpoint *peer);
