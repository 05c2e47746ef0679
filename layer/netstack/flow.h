/* A flow: one TCP connection of the app, its lwIP half and its channel; and the table of them all.
 *
 * Who frees: a flow is freed by flow_reap, from a task of its own, once it has neither a pcb nor a channel. It is in the table
 * while the app's kernel may still know it: while it waits for the agent (FLOW_ASKED) or has a pcb. */
#pragma once

#include "native/addr.h"
#include "native/backlog.h"
#include "native/loop.h"
#include "native/mux.h"

#include "lwip/tcp.h"

#include <stdbool.h>
#include <stdint.h>

enum flow_state { /* what follows what: syn.c */
                  FLOW_NEW,
                  FLOW_ASKED,    /* the app's SYN is kept, the agent is connecting */
                  FLOW_HANDED,   /* the SYN has been given to lwIP, which shakes hands */
                  FLOW_DIALLING, /* an agent's: lwIP is the client and shakes hands with the app */
                  FLOW_QUEUED, /* the app's kernel has, and the app may not have accepted it (accepted.h) */
                  FLOW_LIVE,
                  FLOW_DRAINING, /* closed in order towards the app; the channel has still something to take */
                  FLOW_OVER,
};

/* A SYN that waits for the agent: written anew, without data, so that it can be handed on, refused or quoted. */
struct held_syn {
    struct timer quiet; /* fires when the app has given up */
    struct flow *flow;
    uint64_t last; /* ns; when it came last */
    uint64_t gap;  /* ns between the last two */
    size_t len;
    uint8_t packet[40 + 60];
};

struct link_node {
    struct link_node *next, *prev;
};

struct flow {
    struct endpoint app, peer; /* source and destination of what the app sends */
    struct flow *hash_next;
    struct netstack *ns;
    struct tcp_pcb *pcb; /* NULL: not yet, or freed */
    struct channel channel;
    struct held_syn *syn;
    enum flow_state state;
    int fate;    /* the channel has been reset: an errno, until flow_reap has acted on it */
    int why;     /* the pcb is lost: an errno */
    bool mirror; /* what the app answers is nobody's */
    bool hashed;
    bool time_wait; /* of the pcb */
    bool wants_room;
    bool up_eof, up_eof_told;
    bool down_eof, down_eof_told;
    bool output; /* in ns->outputs */
    bool reap;   /* in ns->reap */
    struct flow *output_next, *reap_next;
    struct link_node ticks, acks, ends; /* sight.c's lists; next NULL: not in it */
    uint64_t ack_at, ends_at;           /* ns: an ACK is due; TIME_WAIT is over */
    struct link_node waits;             /* accepted.c's list, while FLOW_QUEUED */
    uint64_t shaken_at;                 /* ns: since then */
    struct pbuf *up_first, *up_last;    /* from the app, for the channel; by next, one pbuf each */
    size_t up_len;                      /* octets of them */
    struct backlog down;                /* from the channel, for lwIP: what it did not take yet */
};

struct flow_table {
    struct flow **buckets;
    size_t size;    /* a power of two */
    uint32_t count; /* in the table */
    uint32_t alive; /* not freed; the app's kernel may have forgotten them, the link has not */
    uint32_t seed;
};

bool flow_table_init(struct flow_table *t);
void flow_table_free(struct flow_table *t); /* empty by now */
struct flow *flow_find(const struct flow_table *t, const struct endpoint *app,
                       const struct endpoint *peer);

/* In the table, state FLOW_NEW. NULL: no memory. */
struct flow *flow_new(struct netstack *ns, const struct endpoint *app, const struct endpoint *peer);
void flow_unhash(struct flow *f);
void flow_discard(struct flow *f); /* one that came to nothing */
void flow_reap(
    struct flow *f); /* frees it after this batch if it has no pcb and no channel by then */
void flow_reap_run(struct task *self);
void flow_end_all(struct netstack *ns); /* the links are gone; nobody is told; none may be left */

void list_init(struct link_node *head);
void list_append(struct link_node *head, struct link_node *n); /* moves it when it is in already */
void list_remove(struct link_node *n);                         /* may be in none */
bool list_empty(const struct link_node *head);
