/* posix_spawn(3)'s file actions on paths of the target's, for who makes them (actions.c) and who carries them out (spawn.c). */
#pragma once

#include <stdbool.h>

/* Whether any was made by this process: only then is a spawn more than libc's. */
bool actions_are_used(void);

/* In a thread that is about to spawn and nothing else: what the actions' paths begin with is there, for it and its child alone. */
void actions_prepare(void);
