/* The bridge's engine: tun0 on one side, data links to agents on the other, one thread between.
 *
 * What the app sends comes out of tun0: TCP is ended by lwIP and its octets cross as a channel, datagrams and echo requests
 * cross whole. What agents mirror goes into tun0 as from the real client. Python decides and calls; the engine tells what it
 * saw by messages that are pulled. Every function but _run and the pull may be called from any thread, at any time between
 * _new and _free; it is done by the loop's thread before it returns.
 *
 * lwIP has global state: there is one netstack in a process at a time.
 *
 * Messages, msgpack arrays, the name first:
 *   ["listening", [[proto, port, loopback, family], …]]  what accepts in this namespace, sorted, whole, when it changed;
 *                                             family 4, 6, or 10: a v6 wildcard that takes v4 too
 *   ["self", port]              a SYN for an address of this machine came out to tun0, and now somebody accepts there
 *   ["refused", errno, ip, port]   a connect inside the target failed as no packet can say; the app got a RST
 *   ["link-gone", link, reason]    a data link ended by itself; netstack_link_del is still due
 *   ["link-cut", link, reason]     a kept link has lost its socket; netstack_link_resume, or _del, is due
 *   ["failed", what]            something of this machine failed (tun0, sock_diag) and the engine goes on without it
 */
#pragma once

#include "native/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
struct netstack;

struct netstack_counters {
    uint64_t packets_in, octets_in;   /* from tun0 */
    uint64_t packets_out, octets_out; /* into tun0 */
    uint64_t lost;                    /* packets that tun0 did not take, or that were no packets */
    uint64_t opened, refused, cancelled, mirrored; /* TCP, since the start */
    uint64_t datagrams_lost; /* the link's queue was too long, or too many associations */
    uint64_t answers;        /* octets that the app answered to mirrored clients, dropped */
    uint32_t flows;   /* TCP connections now, with TIME_WAIT and what the link has yet to take */
    uint32_t ticking; /* of them those that a timer looks after */
    uint32_t associations; /* UDP and echo, now */
    uint32_t links;
    uint64_t held; /* octets that wait in flows for the link or for the app */
};

/* Takes `tun_fd` (non-blocking, IFF_VNET_HDR of 10 octets, TUN_F_CSUM; closed by _free). EBUSY: there is one already. */
struct netstack *netstack_new(int tun_fd, struct fault *f);
int netstack_run(struct netstack *ns, struct fault *f); /* until _stop; then may be run again */
void netstack_stop(struct netstack *ns);
void netstack_free(
    struct netstack *ns); /* not while it runs; connections end as with a cut cable */

/* Takes `fd`, a stream socket after the handshake (closed also on failure). New connections go to the primary link, the one
 * added last as such. The link's number, or -1. `keeps`: it may be resumed, and its Hello said so. */
int netstack_link_add(struct netstack *ns, int fd, bool primary, bool keeps, struct fault *f);
/* The same for a link that carries files alone, on a thread of its own (links.h). */
int netstack_files_link_add(struct netstack *ns, int fd, bool keeps, struct fault *f);
/* New connections go to this link, for its agent's target of this number; those that are open stay where they are. The target's
 * files come by it too, if `files`, or if it carries nothing else. -1: there is no such link. */
int netstack_link_primary(struct netstack *ns, int link, uint32_t target, bool files,
                          struct fault *f);
/* Takes a kept link off its socket, if that has not happened by itself; in *received how many octets of it have come. -1: it
 * has ended, or does not keep. */
int netstack_link_cut(struct netstack *ns, int link, uint64_t *received, struct fault *f);
/* Goes on by `fd` (taken, also on failure), the agent having `received` octets. -1: there is no such link, or that cannot be;
 * then netstack_link_del is due. */
int netstack_link_resume(struct netstack *ns, int link, int fd, uint64_t received, struct fault *f);
void netstack_link_del(struct netstack *ns,
                       int link); /* its connections are reset; unknown numbers are ignored */

/* Ask the kernel every `interval_ms` what accepts in the network namespace of the calling thread; 0 ends that. -1: sock_diag(7)
 * is not to be had. */
int netstack_listeners(struct netstack *ns, uint32_t interval_ms, struct fault *f);

/* The target's own addresses, whose SYNs must not leave while somebody accepts here: 17 octets each, 4 or 6 and then the
 * address (zeroes after four). At most 64; 127.0.0.0/8 need not be said. -1 if they are not of that form. */
int netstack_addresses(struct netstack *ns, const uint8_t *packed, size_t octets, struct fault *f);

void netstack_counters(struct netstack *ns, struct netstack_counters *out);

/* Serve the target's files from now on, once: a mount that is attached nowhere, and the files' door in the network namespace of
 * the calling thread (layer/files/filesystem.h). The target process's own are shown as this user's and group's. -1: why. */
int netstack_files(struct netstack *ns, uint32_t uid, uint32_t gid, bool writes, struct fault *f);

/* st_dev of the target's files; 0: none are served. */
uint64_t netstack_files_device(const struct netstack *ns);

struct netstack_files_counters {
    uint64_t asked; /* of the agent */
    uint64_t ahead; /* answered without */
    uint64_t octets, opened, files, without_layer;
};

void netstack_files_counters(struct netstack *ns, struct netstack_files_counters *out);

int netstack_outbox_fd(const struct netstack *ns); /* readable while a message waits */
size_t netstack_pull(struct netstack *ns, void *buf,
                     size_t capacity); /* one message; 0: none. Any thread */
/* cffi: end */
