/* open(2) by the rules, for whoever opens on another's behalf (streams, directories). */
#pragma once

#include "place.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sys/types.h>

int open_by_rules(int dirfd, const char *path, int flags, mode_t mode);

/* Where it leads, as place_find: what it would be opened for is in the flags. */
enum route open_find(struct place *p, int dirfd, const char *path, int flags);

/* Only if the path is the target's: a descriptor (>= 0), or -1 and errno; OPEN_NOT_OURS when libc is to do what it does. */
#define OPEN_NOT_OURS (-2)
int open_of_target(const char *path, int flags, mode_t mode);

/* Whether there is a mode to be given. */
static inline bool open_makes(int flags) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}
