/* What the agent wants of the gate, as one message says it: sessions, rules, the node's addresses, probes. A value, read from
 * octets; knows no socket.
 *
 *     [1, serial, [session…], [rule…], [node ip…], [probe…], [uid of a mesh's proxy…]]
 *     session: [number, since, on_app_gone, link_lost_after, flags]      rule: [session, target index, port, app_port, filter or nil]
 *     filter: [[[what, regex]…]…], any of all of                          probe: [port, kind, path]        ip: 4 or 16 octets */
#pragma once

#include "agent/http/filter.h"
#include "native/addr.h"
#include "native/fault.h"
#include "native/span.h"

#include <stdbool.h>
#include <stdint.h>

/* Bounds of what one node's agent may ask for; a message past one of them is refused whole, in words. */
#define WANT_SESSIONS 64
#define WANT_RULES    1024
#define WANT_NODES    32
#define WANT_PROBES   256
#define WANT_PATH     256
#define WANT_MESHES   32

enum want_app_gone { WANT_GONE_TARGET, WANT_GONE_502, WANT_GONE_RESET };
enum { WANT_STEAL_PROBES = 1, WANT_STEAL_LOCAL = 2, WANT_STEAL_EXISTING = 4 };
enum want_probe_kind { WANT_PROBE_HTTP, WANT_PROBE_TCP, WANT_PROBE_GRPC };

struct want_session {
    uint64_t number;
    uint64_t since;           /* unix seconds */
    uint32_t link_lost_after; /* ms */
    uint8_t on_app_gone;      /* enum want_app_gone */
    uint8_t flags;
};

struct want_rule {
    const struct want_session *session;
    uint32_t target; /* index */
    uint16_t port, app_port;
    bool whole;
    struct http_filter
        *filter; /* of one that is whole, everything; NULL once a port has taken it */
};

struct want_probe {
    uint16_t port;
    uint8_t kind;
    char path[WANT_PATH]; /* HTTP's; otherwise empty */
};

/* Sessions are in order of age, the oldest first, and so are the rules. */
struct want {
    uint64_t serial;
    uint32_t sessions, rules, nodes, probes, meshes;
    struct want_session session[WANT_SESSIONS];
    struct want_rule rule[WANT_RULES];
    struct addr node[WANT_NODES];
    struct want_probe *probe;
    uint32_t mesh[WANT_MESHES]; /* user ids of proxies */
};

/* The message without its array head and tag: what follows them. NULL and `f`: it is not one, or past a bound. */
struct want *want_read(const void *p, size_t n, struct fault *f);
struct want *want_nothing(void); /* NULL: no memory */
void want_free(struct want *w);  /* NULL is allowed */

bool want_is_node(const struct want *w, const struct addr *a);
