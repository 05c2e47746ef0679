/* The step from mirror-init to the command: a process of its own, as the user, in the directory, with the terminal. */
#pragma once

#include "fault.h"
#include "start.h"

#include <sys/types.h>

enum { EXIT_OURS = 125, EXIT_CANNOT = 126, EXIT_NOT_FOUND = 127 }; /* as docker run */

/* Forks; the child executes the command or says why not on stderr and exits with one of the numbers above. `environment` is
 * the whole one. The child's pid, or -1. Signals are blocked by the caller; the child starts with none blocked. */
pid_t child_start(const struct start *s, char **environment, struct fault *f);
