/* See mirror.h. Two replicas' connections, or datagrams, from one client port would be the same four numbers here: the second
 * gets another port of the same client, chosen as Linux would (ip_local_port_range). */
#include "layer/netstack/mirror.h"
#include "layer/netstack/engine.h"
#include "layer/netstack/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define PORT_FIRST 32768
#define PORTS      (61000 - PORT_FIRST)
#define TRIES      64

static bool is_loopback(const struct addr *a) {
    return a->family == 4 ? a->ip[0] == IN_LOOPBACKNET
                          : memcmp(a->ip, &in6addr_loopback, sizeof in6addr_loopback) == 0;
}

struct addr mirror_place(const struct netstack *ns, const struct addr *asked) {
    const struct addr *first = NULL;
    if (is_loopback(asked))
        return *asked;
    for (size_t i = 0; i < ns->listeners.own_count; i++) {
        const struct addr *own = &ns->listeners.own[i];
        if (memcmp(own, asked, sizeof *own) == 0)
            return *asked;
        if (!first && own->family == asked->family)
            first = own;
    }
    return first ? *first : *asked;
}

/* Whether no flow has these four; one that is only waited out makes way, as a kernel's would (RFC 6191). */
static bool is_free(struct netstack *ns, const struct endpoint *app,
                    const struct endpoint *client) {
    struct flow *f = flow_find(&ns->flows, app, client);
    if (f && f->time_wait) {
        syn_input(f, IN_ENDED);
        f = NULL;
    }
    return !f;
}

bool mirror_client(struct netstack *ns, const struct endpoint *app, struct endpoint *client,
                   mirror_is_free *is_free_pair) {
    if (is_free_pair(ns, app, client))
        return true;
    uint32_t at = endpoint_pair_hash(app, client, ns->flows.seed + (uint32_t)loop_now(ns->loop));
    for (int i = 0; i < TRIES; i++, at += 7919) { /* a prime: the steps do not repeat */
        client->port = (uint16_t)(PORT_FIRST + at % PORTS);
        if (is_free_pair(ns, app, client))
            return true;
    }
    return false;
}

struct channel *mirror_tcp(struct netstack *ns, const struct channel_open *o, int *err) {
    struct endpoint client = o->source;
    if (!client.addr.family || client.addr.family != o->destination.addr.family) {
        *err = EAFNOSUPPORT;
        return NULL;
    }
    if (!mirror_client(ns, &o->destination, &client, is_free)) {
        *err = EADDRINUSE;
        return NULL;
    }
    struct flow *f = flow_new(ns, &o->destination, &client);
    if (!f) {
        *err = ENOMEM;
        return NULL;
    }
    f->mirror = o->kind == CHANNEL_MIRROR_TCP;
    f->channel.ops = &relay_ops; /* it may be reset before the app has accepted */
    syn_input(f, IN_OPEN);
    if (!f->pcb) {
        *err = ENOMEM;
        flow_discard(f);
        return NULL;
    }
    return &f->channel;
}
