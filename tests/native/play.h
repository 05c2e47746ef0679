/* A shell for the exchange without sockets: each party has what it is going to say and what it has been told, and the octets
 * move as they would. Every offer is an allocation of its own, so that the address sanitizer sees a read behind it. */
#pragma once

#include "agent/gate/exchange.h"
#include "agent/http/line.h"

#include "check.h"

struct octets {
    uint8_t *p;
    size_t n, room;
};

struct play {
    struct exchange *x;
    struct exchange_rules rules;
    struct octets says[EXCHANGE_PARTIES], told[EXCHANGE_PARTIES];
    bool ends[EXCHANGE_PARTIES];  /* its end follows what it says */
    bool taken[EXCHANGE_PARTIES]; /* and was taken: it is offered no more */
    bool ended[EXCHANGE_PARTIES]; /* it was told an end */
    bool asked[EXCHANGE_PARTIES], accepted[EXCHANGE_PARTIES];
    unsigned cuts[EXCHANGE_PARTIES], asks[EXCHANGE_PARTIES];
    unsigned sends[EXCHANGE_PARTIES]; /* system calls, in the real shell */
    bool accept_at_once;
    size_t backlog[EXCHANGE_PARTIES]; /* what the shell pretends */
    int raw;                          /* party, or -1 */
    int why;
    unsigned seen, matched;
    char line[HTTP_LINE + 1]; /* the last that was seen */
    uint64_t now;
    struct octets given; /* all that parties but the client were told, in order */
    bool pure; /* the client is told only octets of the offer at hand (and a 502 of ours) */
    const uint8_t *offered;
    size_t offered_n;
};

void play_begin(struct play *y);
void play_end(struct play *y);
/* A rule in the next slot: any of (all of) is given as pairs of what and regex, ended by -1; "|" begins a group. */
void play_rule(struct play *y, const char *terms);
/* The party says this, and everything moves until nothing does. */
void play_says(struct play *y, unsigned party, const void *p, size_t n);
void play_text(struct play *y, unsigned party, const char *text);
void play_ends(struct play *y, unsigned party);
void play_move(struct play *y);
bool play_told(const struct play *y, unsigned party, const void *p, size_t n);
void play_forget(struct play *y); /* what was told so far */
void octets_add(struct octets *o, const void *p, size_t n);
void octets_drop(struct octets *o, size_t n); /* from the front */

#define CLIENT EXCHANGE_CLIENT
#define TARGET EXCHANGE_TARGET
#define APP    EXCHANGE_APP
#define APP2   (EXCHANGE_APP + 1)

/* What a party has been told since the last time it was asked. */
#define TOLD(y, party, text)                                                                       \
    do {                                                                                           \
        if (!play_told(y, party, text, strlen(text))) {                                            \
            fprintf(stderr, "%s:%d: party %d was told \"%.*s\", not \"%s\"\n", __FILE__, __LINE__, \
                    (int)(party), (int)(y)->told[party].n, (const char *)(y)->told[party].p,       \
                    text);                                                                         \
            exit(1);                                                                               \
        }                                                                                          \
        (y)->told[party].n = 0;                                                                    \
    } while (0)
