/* A loop whose clock stands still until the test moves it: native/loop.h's twin, linked in the place of native/loop.c.
 *
 * What expires after minutes is then tested in microseconds, and the code under test is as it is shipped. */
#pragma once

#include "loop.h"

#define STILL_SECOND (1000ull * 1000 * 1000)

/* Events, due timers and tasks, until there is nothing left to do at this moment. */
void still_settle(struct loop *l);
/* Moves the clock to `ns` later; every timer on the way fires at the very moment it was set for, and what it brings about is
 * settled before the next. */
void still_pass(struct loop *l, uint64_t ns);
/* Timers that are set. */
uint32_t still_timers(const struct loop *l);
