/* One party of a filtered connection: its socket, what was read of it and not taken yet, and what it has not taken itself. Knows
 * nothing of the exchange but the sizes that it asks for. */
#pragma once

#include "agent/gate/exchange.h"
#include "agent/gate/gate.h"

struct filtered;

struct party {
    struct loop_fd io; /* fd -1: none */
    struct gate *gate;
    struct filtered *owner;
    uint8_t *held; /* EXCHANGE_HEAD octets, or NULL: read and not taken */
    size_t held_n;
    struct backlog out;
    struct handover_offer offer;
    bool connecting, asked, pair;
    bool eof, eof_taken; /* its own end: seen, and taken by the exchange */
    bool ended, doubted; /* of a pair: see relay.h */
    bool end, shut;      /* ours towards it: to be told, and told */
    bool was_full;
    int broken;
};

/* With RST or in order; the party can be used no more, but may be asked for all it was. */
void party_close(struct party *p, bool reset);
/* What the loop is to tell of it, from its state. */
void party_watch(struct party *p);
/* What the socket does not take now waits; of a broken one nothing does. */
void party_send(struct party *p, const uint8_t *octets, size_t n);
/* Sends what waits. */
void party_flush(struct party *p);
void party_tell_end(struct party *p); /* ours towards it, if it is to be told and all else was */
/* Keeps what was read and not taken; false: no memory. */
bool party_hold(struct party *p, const uint8_t *octets, size_t n);
void party_took(struct party *p, size_t n); /* of what is held */
bool party_vanished(
    const struct party *p); /* a pair whose other end was closed whole: see relay.c */
