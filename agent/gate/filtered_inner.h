/* A filtered connection for its own files: filtered.c (its life), filtered_read.c (what its sockets tell), filtered_ops.c (what the
 * exchange does to them), filtered_settle.c (what follows from a call).
 *
 * Every call of the exchange is followed by filtered_settle(). So what an op only notes (an end, raw octets, an app that could not
 * be asked) is acted upon outside it. */
#pragma once

#include "agent/gate/filtered.h"
#include "agent/gate/party.h"

#define MILLISECOND (1000ull * 1000)

enum { NOT_RAW = -1 };

struct filtered {
    struct conn *conn;
    struct exchange *exchange;
    struct party first[2];                 /* the client's and the target's */
    struct party *party[EXCHANGE_PARTIES]; /* NULL: an app that has nothing of this connection */
    struct timer deadline;
    struct task later;
    uint32_t refused; /* slots whose app could not be asked: to be said once the op has returned */
    int raw;          /* the party that has the connection from now on */
    bool cut;
};

static inline uint64_t filtered_now(const struct filtered *f) {
    return loop_now(f->conn->gate->loop) / MILLISECOND;
}

static inline struct party *filtered_party(struct filtered *f, unsigned which) {
    return f->party[which];
}

static inline unsigned filtered_number(const struct party *p) {
    struct filtered *f = p->owner;
    unsigned which = 0;
    while (filtered_party(f, which) != p)
        which++;
    return which;
}

/* False: `f` is no more. */
bool filtered_settle(struct filtered *f);

extern const struct exchange_ops filtered_ops;
void filtered_say_refused(struct task *t); /* `later` */

/* A party's socket, and an app's answer. */
void filtered_ready(struct loop_fd *io, uint32_t events);
void filtered_answered(struct handover_offer *o, enum handover_answer what, int err);
