/* One TCP connection of a client with the target, as the mirror knows it. Shared by mirror_table.c, which keeps it,
 * mirror_tcp.c, which moves it along by what packets say, mirror_channel.c, which shows it to the app, and mirror_sieve.c, which
 * shows of it what a filter chooses. */
#pragma once

#include "agent/http_edge.h"
#include "agent/mirror_parts.h"
#include "agent/reassembly.h"
#include "agent/sieve.h"

#include <sys/queue.h>

/* Most go SYN, ANSWERED, FOLLOWED. One that began before it could be seen is MIDDLE, TRYING, FOLLOWED. A connection that
 * could not be shown any longer while it goes on (the app ended its side, we had no room) is MIDDLE again. */
enum phase {
    PHASE_SYN,      /* the client's SYN; `stream` holds what came with it */
    PHASE_ANSWERED, /* the target's SYN-ACK; a verdict follows the client's next packet */
    PHASE_MIDDLE,   /* not followed: `edge` looks for a boundary */
    PHASE_TRYING,   /* `stream` begins at a boundary and may turn out to be a request */
    PHASE_FOLLOWED, /* has a channel, fed by `stream`; or a sieve, which has one from the first request that matches on */
    PHASE_IGNORED,  /* not to be shown, ever */
};

struct conn {
    LIST_ENTRY(conn) chain;
    LIST_ENTRY(conn) answers; /* in the chain of its `origin`, if it has one */
    TAILQ_ENTRY(conn) age;
    TAILQ_ENTRY(conn) touched;
    struct mirror_tcp *table;
    struct mirrored_port *port;
    struct endpoint client, own;
    struct endpoint
        origin; /* whom the target's answers go to, if that is another address; else of no family */
    struct channel channel;
    struct mirror_share share; /* while it is followed */
    struct reassembly stream;
    struct http_edge edge;
    struct sieve *sieve; /* NULL: all of it is shown */
    size_t left;         /* octets that the sieve was offered last and did not take */
    uint64_t seen;       /* ns; to within a second */
    uint32_t isn;        /* of the client's last SYN */
    int ifindex;
    uint8_t phase; /* enum phase */
    bool loopback; /* the interface */
    bool hashed;   /* else it has left the table, and only its channel lives */
    bool is_touched;
    bool limited; /* counted as such */
    bool stuck;   /* the app has no room for what the sieve has for it */
    bool late;    /* its SYN was not seen */
    bool is_own;  /* the verdict, once it is a yes */
    bool
        syn_again; /* a SYN on a live connection: `isn` is its, and an answer to it would mean a new one */
    bool reset;     /* after the client's FIN was acknowledged */
    bool eof_sent;  /* to the app */
    bool app_ended; /* the app's EOF */
    bool client_fin, target_fin;
};

TAILQ_HEAD(conn_list, conn);

struct mirror_tcp {
    struct mirror *mirror;
    struct reassembly_budget budget;
    LIST_HEAD(conn_chain, conn) * chains; /* by both ends; and behind them as many by `origin` */
    struct conn_list waiting;             /* SYN and ANSWERED, oldest first */
    struct conn_list followed;            /* TRYING and FOLLOWED, least recently seen first */
    struct conn_list watched;             /* MIDDLE and IGNORED, likewise */
    struct conn_list leaving; /* over for client and target, not yet for the app; oldest first */
    struct conn_list touched; /* something to flush after this batch */
    size_t conns, half_open;
    uint8_t *scratch; /* for what has to lie in one piece (mirror_sieve.c); NULL: nobody had to */
};

/* On the loopback interface, or elsewhere: beside a gate (agent/gate) a client's connection with it and the gate's own with
 * the target have the same ends, the one over the wire and the other over lo. */
struct conn *conn_find(const struct mirror_tcp *t, const struct endpoint *client,
                       const struct endpoint *own, bool loopback);
/* On lo, by the address that its answers go to. */
struct conn *conn_find_origin(const struct mirror_tcp *t, const struct endpoint *origin,
                              const struct endpoint *own);
/* PHASE_SYN or PHASE_MIDDLE; IGNORED if it is the agent's own. NULL: there is no place, which is counted. */
struct conn *conn_new(struct mirror_tcp *t, const struct endpoint *client,
                      const struct endpoint *own, struct mirrored_port *port, enum phase phase,
                      int ifindex, bool loopback);
void conn_see(struct conn *c);   /* a packet of it came */
void conn_touch(struct conn *c); /* flush it after this batch */
void conn_set_phase(struct conn *c,
                    enum phase phase); /* and moves it to the list where it belongs */
void conn_leave(
    struct conn *c); /* out of the table; freed at once, or when the app has ended too */
void conn_forget(struct conn *c); /* whatever it is: resets its channel and frees it */

void conn_follow(
    struct conn *c); /* opens its channel; `stream` begins with what the app sees first */
void conn_flush(struct conn *c);
bool conn_show(
    struct conn *c); /* opens its channel; false: it cannot be had now, which is counted */
void conn_unshow(struct conn *c); /* the channel is forgotten, or about to be */
/* Nothing more of it is followed; MIDDLE, or IGNORED if there is no point in looking. May free `c`. */
void conn_unfollow(struct conn *c);
void conn_send_eof(struct conn *c); /* all was sent; may free `c` */
void conn_sent(struct conn *c, size_t n);
void conn_spends_no_more(struct conn *c); /* of the session's rate */
void conn_cut(struct conn *c,
              bool politely); /* from the app: EOF if `politely`, else a reset; then MIDDLE */

/* Only what a filter chooses of it: false, which is counted, if there is no memory for that. Then as conn_flush. */
bool conn_sift_begin(struct conn *c);
void conn_sift(struct conn *c);
