/* Two muxes joined by a socketpair in one loop, and channels that send and verify a known stream. */
#pragma once

#include "mux.h"

#include <sys/types.h>

struct end;

/* A channel that records what happens to it, and optionally does something about it. */
struct talk {
    struct channel channel;
    struct end *end;
    uint32_t key; /* channel_open.target of the OPEN that made it: ties both sides */

    uint64_t to_send, sent, got;
    bool eof_after; /* EOF once to_send is sent */
    bool hoard;     /* grants nothing */
    int opened, eofs, resets, rooms, datagrams, unreachables;
    int err;
    struct endpoint peer;

    /* Called first in every callback, with its name. True: the talk may be gone, nothing more is done. */
    bool (*hook)(struct talk *t, const char *callback);
};

struct end {
    struct loop *loop;
    struct mux *mux;
    struct fault why;
    int gone, cuts;
    int raw; /* when the other side is a bare fd: that fd; else -1 */

    /* Decides about an OPEN; the default makes a talk and accepts at once with `window`. */
    struct talk *(*on_open)(struct end *e, const struct channel_open *o, int *err);
    uint32_t window;
    struct talk *talks[16384]; /* by key */
    uint32_t opens;
    bool (*hook)(struct talk *t, const char *callback); /* of accepted talks */
    uint64_t reply;                                     /* to_send of accepted talks */
    bool hoard;
};

struct end *end_new(struct loop *l, int fd, bool odd);
struct end *end_kept(struct loop *l, int fd, bool odd); /* its link may be resumed */
void end_free(struct end *e);                           /* the mux too, and every talk */

void pair_make(struct loop *l, struct end *ends[2]);
/* One mux, and in ->raw the other end of its socket. */
struct end *pair_half(struct loop *l, bool odd);

struct talk *talk_open(struct end *e, enum channel_kind kind, uint32_t key, uint32_t window,
                       uint64_t to_send);
struct talk *talk_new(struct end *e, uint32_t key);
void talk_free(struct talk *t);
void talk_pump(struct talk *t);
extern const struct channel_ops talk_ops;

/* The octets of a talk's stream from `offset` on, 128 KiB of them. */
const uint8_t *talk_pattern(uint64_t offset);

/* Runs the loop until `done` says so. */
void run_until(struct loop *l, bool (*done)(void *arg), void *arg);
void run_turns(struct loop *l, int turns); /* that many batches, none of which waits */

void raw_write(struct end *e, const void *p, size_t n);
size_t raw_read(struct end *e, void *p, size_t capacity); /* what is there now */
