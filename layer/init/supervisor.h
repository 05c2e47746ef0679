/* mirror-init's side of listeners (layer/preload/listener.h): takes them and answers what comes, on threads of its own. */
#pragma once

#include "fault.h"
#include "start.h"

/* Whether this kernel has what it takes; if not, a sentence. */
int supervisor_possible(struct fault *f);

/* Listens at LISTENER_NAME, before anything of the app's is executed; a descriptor, or -1. */
int supervisor_listen(struct fault *f);

/* Serves from now on, until the process ends. What was inherited by the command must have been started before: there are threads
 * from here on. 0, or -1. */
int supervisor_start(int listening, const struct start *s, struct fault *f);
