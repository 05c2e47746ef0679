/* inotify(7) for programs without a layer: who adds a watch for them must have their inotify, and pidfd_getfd(2) is what engines
 * forbid. So it is made for them, and what was given to them is kept here too, by process and number.
 *
 * Nobody tells when one is closed: what is no inotify in its process any more is dropped when the next is made. A child that
 * inherits one watches the container's own by it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct watchers;
struct watchers *watchers_make(
    void); /* for all threads that serve: a caller's next call may be another's. Or NULL */

/* A new one, or -1 and errno; left to the caller when as many are kept as may be. */
int watchers_new(struct watchers *all, int flags);

/* What was given to the caller as `number` is this: the descriptor is taken. */
void watchers_keep(struct watchers *all, int number, int fd);

/* inotify_add_watch(2) by the rules. */
int watchers_add(struct watchers *all, int number, const char *path, uint32_t mask);
