/* What becomes of one client's connection at a port that is stolen by filter: which party its octets go to, request by
 * request. Sans-io: knows no socket, no clock, no namespace; its owner (the shell) couples it to them.
 *
 * Parties: the client, the target, and for each session that steals here one app, named by the session's slot.
 *
 *     exchange_offer(party, octets)  ─►  exchange  ─►  ops: send, end, ask, cut, raw, seen
 *
 * Octets in. The shell reads a party into a buffer and offers what is there; the exchange takes a prefix and answers how
 * long it was. What it left is offered again, the same octets first and whatever came since behind them, after any other
 * call on this exchange, and when a party has room again. The exchange keeps no copy of what it did not take: a request's
 * head is decided while it lies in the shell's buffer, so an offer of EXCHANGE_HEAD octets or more is never left whole for
 * being too short. One buffer of that size for each party is all the memory that reading needs; a full one is not read into.
 *
 * Octets out. `send` takes all it is given (the shell keeps what the socket does not take). The bound: the exchange asks
 * `backlog` before it takes octets for a party, and takes none while that is EXCHANGE_BACKLOG or more. So at zero credit
 * only those who send to that very party stand still; a slow app does not hold what is the target's.
 * What one offer causes to be sent is bounded by the offer's length and EXCHANGE_OWN.
 *
 * Who owns what. The shell owns sockets, buffers and rules; `rules` is borrowed and may be changed by the shell between
 * two calls (see struct exchange_rules). The exchange owns its own state only; pointers given to ops are valid during that
 * call. An op never calls the exchange back: the answer to `ask` is a later call, even if it is known at once.
 *
 * The end. After `raw` the exchange has no further part: once the call that caused it has returned the shell frees it,
 * splices what is left in the two parties' buffers and all that follows (ends too), and closes the other parties in order.
 * After cut(EXCHANGE_CLIENT), or when exchange_over() is true, the shell closes all that is left and frees it.
 * A client that resets its connection is not told here: the shell cuts everything and frees it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXCHANGE_APPS 16    /* slots: sessions that steal one port by filter */
#define EXCHANGE_HEAD 65536 /* a request's head that is longer is the target's */
#define EXCHANGE_BACKLOG                                                                           \
    262144 /* octets not yet sent to a party, from which on nothing is taken for it */
#define EXCHANGE_OWN                                                                               \
    65536 /* octets of its own that it may send a party beyond what it was offered */
#define EXCHANGE_NEVER UINT64_MAX

/* Parties. The app of slot k is EXCHANGE_APP + k. */
enum { EXCHANGE_CLIENT = 0, EXCHANGE_TARGET = 1, EXCHANGE_APP = 2 };
#define EXCHANGE_PARTIES (EXCHANGE_APP + EXCHANGE_APPS)

enum exchange_app_gone { EXCHANGE_GONE_TARGET, EXCHANGE_GONE_502, EXCHANGE_GONE_RESET };

struct http_filter;

/* One session's part in a port. */
struct exchange_rule {
    const struct http_filter *filter; /* NULL: nobody's slot */
    bool takes;               /* new requests; false once its session ends, or its link is down */
    uint8_t on_app_gone;      /* enum exchange_app_gone */
    uint32_t link_lost_after; /* milliseconds */
};

/* The sessions at one port. The shell adds a rule to a free slot, or changes one, at any time: it holds for the next request,
 * of open connections too. A slot is given to another session only after exchange_gone() has been said to every exchange that
 * borrows these rules. */
struct exchange_rules {
    struct exchange_rule slot[EXCHANGE_APPS];
    /* Slots, the oldest session's first: they are asked in this order; `count` of them hold. */
    uint8_t order[EXCHANGE_APPS];
    uint8_t count;
    /* Another number whenever a filter or the order is another one: a head that is half there is judged anew. */
    uint32_t generation;
};

enum exchange_why {
    EXCHANGE_WHY_TLS,
    EXCHANGE_WHY_NOT_HTTP, /* the first octets are of no protocol that is known here, or not of a strict HTTP/1 */
    EXCHANGE_WHY_TARGET_FIRST, /* the target spoke before it was asked */
    EXCHANGE_WHY_LONG,         /* a head over EXCHANGE_HEAD */
    EXCHANGE_WHY_MALFORMED,    /* what two servers could read in two ways: the target's to judge */
    EXCHANGE_WHY_UPGRADED,     /* 101, or CONNECT: no longer HTTP/1 */
    EXCHANGE_WHY_ENDED,   /* the client's end came, and nobody but the target owes it anything */
    EXCHANGE_WHY_LAST,    /* one side said that this is the connection's last request or answer */
    EXCHANGE_WHY_DRAINED, /* nothing more is stolen */
};

struct exchange_ops {
    void (*send)(void *shell, unsigned party, const void *p, size_t n);
    /* No octet follows: shutdown(SHUT_WR) once all was sent. An app's leg whose both directions have ended is forgotten by
     * both sides, and may be asked for again. */
    void (*end)(void *shell, unsigned party);
    /* Hand over to the app of this slot: exchange_accepted() or exchange_refused() is owed. Nothing is sent to it before. */
    void (*ask)(void *shell, unsigned party);
    /* Reset and forget, what was not sent yet included. Of an app that was asked for: the answer is no longer owed. */
    void (*cut)(void *shell, unsigned party);
    void (*raw)(void *shell, unsigned party, enum exchange_why why);
    /* A request's fate is decided: `slot` or -1 for the target. `line` is not terminated, n <= HTTP_LINE; cut and clean as
     * agent/http/line.h does it. For HTTP/2 it is made from :method and :path. */
    void (*seen)(void *shell, int slot, const char *line, size_t n);
    size_t (*backlog)(void *shell,
                      unsigned party); /* octets given to send that have not left yet */
    /* Of HTTP/2: whether a request by this agent for this path is the target's whatever the rules say. NULL: none is. */
    bool (*targets_own)(void *shell, const char *path, size_t path_n, const char *agent,
                        size_t agent_n);
};

/* `ops` and `rules` are borrowed and outlive the exchange. NULL: no memory. */
struct exchange *exchange_new(const struct exchange_ops *ops, void *shell,
                              const struct exchange_rules *rules);
void exchange_free(struct exchange *x); /* calls no op */

/* Octets of a party, and whether its end follows them (`end` stays true in later offers). How many were taken; an end counts
 * as taken when all octets before it were. Offer with n == 0 for an end alone. Time is monotonic, in milliseconds. */
size_t exchange_offer(struct exchange *x, unsigned party, const void *p, size_t n, bool end,
                      uint64_t now);

/* The backlog of a party fell below EXCHANGE_BACKLOG again: the exchange sends what it held itself. Then offer what is left. */
void exchange_room(struct exchange *x, unsigned party, uint64_t now);

void exchange_reset(struct exchange *x, unsigned party,
                    uint64_t now); /* the target's or an app's */
void exchange_accepted(struct exchange *x, unsigned party, uint64_t now);
void exchange_refused(struct exchange *x, unsigned party, uint64_t now); /* no socket came to be */

/* The link of a slot's session is down, or is there again; what is in flight waits link_lost_after. */
void exchange_link(struct exchange *x, unsigned slot, bool up, uint64_t now);
/* The slot's session is gone for good: its app is lost now. */
void exchange_gone(struct exchange *x, unsigned slot, uint64_t now);

/* The gate is about to end: nothing more is stolen, and the connection ends when nobody waits for an answer on it. */
void exchange_drain(struct exchange *x, uint64_t now);

/* When exchange_tick() is wanted, or EXCHANGE_NEVER; to be asked anew after every call. */
uint64_t exchange_deadline(const struct exchange *x);
void exchange_tick(struct exchange *x, uint64_t now);

/* Everything that was to be said has been, in both directions. */
bool exchange_over(const struct exchange *x);
