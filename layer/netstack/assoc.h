/* Associations: what has no connection but must be answered - datagrams and echo requests of the app, and mirrored datagrams.
 *
 * One for each socket of the app (its address and port), whatever peers it talks to, so that answers from anywhere reach it;
 * one for each echo identifier; one for each mirrored client. Each is a channel. Bound: ASSOC_MAX, then the one that was used
 * longest ago goes; idle ones go by time. Datagrams have no credit: a link that is behind drops them, as a network would. */
#pragma once

#include "layer/netstack/flow.h"
#include "native/view.h"

#define ASSOC_MAX     4096
#define ASSOC_BUCKETS 4096

enum assoc_kind {
    ASSOC_UDP,
    ASSOC_DNS, /* all it sent went to port 53: one answer, and it is done */
    ASSOC_ECHO,
    ASSOC_MIRROR, /* lives as long as the agent says */
    ASSOC_KINDS,
};

struct assoc;

struct assocs {
    struct assoc *buckets[ASSOC_BUCKETS];
    uint32_t count, mirrored;
    uint32_t seed;
    struct link_node aged[ASSOC_KINDS]; /* used longest ago first */
    struct timer timer;
    uint32_t fragment_id;    /* of the last datagram that went in two */
    uint8_t out[65536 + 64]; /* the packet being written */
};

void assoc_init(struct netstack *ns);
void assoc_stop(struct netstack *ns);

/* From the app: a datagram, or anything of ICMP, of which all but echo is ignored. */
void assoc_udp(struct netstack *ns, const struct ip_view *ip);
void assoc_icmp(struct netstack *ns, const struct ip_view *ip);

/* An agent opens mirrored datagrams. NULL and *err: refused. */
struct channel *assoc_mirror(struct netstack *ns, const struct channel_open *o, int *err);
