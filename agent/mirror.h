/* The incoming traffic of one target, copied to one data link: connections and datagrams become mirror channels.
 *
 * Passive: nothing is sent, no rule is made, nobody waits for us. What cannot be copied truthfully is ended and counted.
 * Runs on the loop's thread. Not to be called from inside a callback of the mux, mirror_free included. */
#pragma once

#include "agent/filter.h"
#include "agent/http/line.h"
#include "agent/mirror_rate.h"
#include "native/addr.h"
#include "native/fault.h"
#include "native/loop.h"
#include "native/mux.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mirror;

struct http_filter;

/* What a filter saw of a port's connections. */
struct mirror_seen {
    uint16_t target_port;
    uint64_t seen, matched; /* requests */
    uint64_t tls,
        other; /* connections of which nothing more can be read: encrypted; not HTTP, or not to be read without a doubt */
    uint32_t last_n;
    char last[HTTP_LINE]; /* the last request's first line */
};

struct mirror_counters {
    uint64_t connections; /* shown to the app, those joined included */
    uint64_t bytes;       /* of them, sent to the link */
    uint64_t datagrams;   /* sent to the link */
    uint64_t
        joined; /* connections older than the session, or than the app's own end, joined at a request */
    uint64_t skipped; /* older than the session and not to be joined: TLS, upgraded, not HTTP/1 */
    uint64_t dropped; /* ended by us: a hole, a conflict, no room, or no place for one more */
    uint64_t
        limited; /* connections not shown, or not to their end, and datagrams, for the session's rate */
    uint64_t lost_packets; /* the ring was full, or a fragment of a datagram stayed alone */
};

/* packet_fd: AF_PACKET SOCK_DGRAM protocol 0 socket born in the target's netns; diag_fd: sock_diag fd of it. Takes both fds,
 * also on failure. `target` goes into the OPENs. `owns` says whether an endpoint in the target is one of the agent's. */
struct mirror *mirror_new(struct loop *l, struct mux *mux, uint32_t target, int packet_fd,
                          int diag_fd, bool (*owns)(void *ctx, const struct endpoint *e), void *ctx,
                          struct fault *f);
void mirror_free(struct mirror *m);
/* All that is shown counts towards this rate, and is shown only while the link has fewer than `most` channels; both outlive
 * the mirror; without them there is no limit. Before any port. */
void mirror_limit(struct mirror *m, struct mirror_rate *rate, const uint32_t *most);

/* `fd`: AF_NETLINK NETLINK_NETFILTER socket born in the target's netns; taken. Without it a redirected connection that was
 * too short to be looked up may be shown (see verdict.h). */
void mirror_conntrack(struct mirror *m, int fd);

/* Of connections only the requests that match are copied (sieve.h); others that are no HTTP are not shown. Datagrams are copied as
 * without. `filter` outlives the mirror. Before any port. */
void mirror_choose(struct mirror *m, const struct http_filter *filter);

/* From now on these. A port that is left out takes no new connections; what is open on it stays until it ends. With none,
 * and when the last connection is gone, the ring is torn down and its memory given back. */
void mirror_ports(struct mirror *m, const struct mirror_port *ports, size_t n);

/* By port, also of those that are mirrored no more: how many were filled. */
size_t mirror_seen_get(const struct mirror *m, struct mirror_seen *out, size_t capacity);
void mirror_counters_get(const struct mirror *m, struct mirror_counters *c);
const struct fault *
mirror_fault(const struct mirror *m); /* why the ring could not be opened; NULL: it could */
