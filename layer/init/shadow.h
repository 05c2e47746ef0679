/* chdir(2) for another process, which nobody but itself can do: so it does it itself, in a directory of the container's that has
 * the name of the target's.
 *
 * From there relative paths are decided by that name, like all others, and getcwd(2) says it. The directory is made if the
 * container has none, empty, root's, readable to all; where the target's path leads elsewhere by symbolic links, so does the
 * container's. Rejected: a descriptor and fchdir(2) forced upon the caller by ptrace(2), which a debugger has already where a
 * program without a layer is worth debugging. */
#pragma once

#include <stdbool.h>

struct place;

/* Decides, checks at the door that the caller may, makes the directory, and leaves the call to the caller; or -1 and errno. */
int shadow_chdir(const char *path);

/* A path as the caller names it, made absolute by its own directory, without `.` and `..`. False: errno. */
bool shadow_own_name(const char *path, struct place *own);
