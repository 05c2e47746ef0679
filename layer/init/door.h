/* mirror-init's end of the bridge's door: the abstract socket of the shared network namespace. */
#pragma once

#include "fault.h"
#include "start.h"

#define DOOR_NAME "mirror-run/door" /* after the NUL that makes it abstract, unix(7) */

/* Connects (again and again for at most `patience_ms`), says InitHello and hears Start. The connected socket, CLOEXEC, whose
 * end is the session's; or -1 with a sentence. */
int door_ask(unsigned patience_ms, struct start *start, struct fault *f);
