/* What a connection is to its own files: conn.c (whose it is, and its ends), conn_target.c and conn_app.c (one other side, octets as they
 * come), node.c (is it a probe?) and filtered.c (several sides, by exchange). */
#pragma once

#include "agent/gate/conn.h"
#include "agent/gate/port.h"

enum { CLIENT, OTHER }; /* ends of the relay */

enum conn_state { CONN_PROBING, CONN_OFFERED, CONN_DIALLING, CONN_FILTERED, CONN_RELAY };

struct filtered;

struct conn {
    struct gate *gate;
    struct port *port;
    struct conn *next, **link; /* `link` is what points to this one */
    enum conn_state state;
    struct endpoint peer, own;
    uint32_t scope;
    bool dialling;           /* of a PROBING one */
    bool may_probe;          /* of a FILTERED one: requests of it may be the target's own probes */
    struct relay relay;      /* its fds are there before it runs; -1: none */
    struct client_port from; /* of a connection to the target */
    struct handover_offer offer; /* of one with an app */
    uint64_t session;            /* whose app */
    uint32_t link_lost_after;    /* ms */
    struct timer lost;           /* runs while that session's link is down */
    struct filtered *filtered;   /* while it decides */
};

void conn_destroy(struct conn *c, bool reset);
/* Whatever the other end was, nothing of it is left. */
void conn_drop_other(struct conn *c, bool reset);
/* A new connection's way, or that of one from the node which is no probe. */
void conn_decide(struct conn *c);
bool conn_is_filtered(const struct conn *c);

/* While another side is waited for, the client is watched for its going away and not read. */
bool conn_watch_client(struct conn *c);
void conn_start_relay(struct conn *c);
void conn_to_target(struct conn *c);
void conn_to_app(struct conn *c, const struct want_rule *r);
/* Of the session that has it, or is asked to. */
void conn_link_is(struct conn *c, bool up);

/* A socket on its way to the target, in the client's name, not registered; -1. */
int conn_dial(struct conn *c);
/* Both ends' fds are set, and what they have not taken yet. `connecting`: the other one's still is. */
void conn_relay(struct conn *c, bool connecting);
/* The gate's end of a pair whose other end is offered to an app; -1. */
int conn_offer(struct conn *c, struct handover_offer *o, uint64_t session, uint32_t target,
               uint16_t app_port);
/* To be told of this session's link. */
void conn_has_app(struct conn *c, uint64_t session, uint32_t link_lost_after);
