/* What came of each stolen port, for each session: counts, told when they changed and at most once a second. */
#pragma once

#include "agent/gate/control.h"

#include <stdint.h>

#define TALLIES (WANT_RULES + WANT_RULES / 4)

struct tally {
    struct control_counts counts;
    bool changed;
};

struct tallies {
    struct loop *loop;
    struct control *control;
    struct timer timer;
    struct tally *all; /* TALLIES of them */
    uint32_t count;
};

int tallies_open(struct tallies *t, struct loop *loop, struct control *control, struct fault *f);
void tallies_close(struct tallies *t);

/* The tally of a rule, to be counted in; valid until the next call. It will be told. Past TALLIES: one that is told to nobody. */
struct control_counts *tally_of(struct tallies *t, uint64_t session, uint16_t port);
/* Those of sessions that are not wanted any more are told a last time and forgotten. */
void tallies_keep(struct tallies *t, const struct want *w);
void tallies_tell(struct tallies *t); /* now, what has changed */
