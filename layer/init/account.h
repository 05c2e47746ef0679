/* The user's place in the container: a line in passwd and group if the image has none, and a HOME that is theirs. */
#pragma once

#include "fault.h"

#include <sys/types.h>

/* Appends to ROOT/etc/passwd and ROOT/etc/group unless they know the uid and the gid; makes them where there are none.
 * A name that another uid has already is followed by "-UID". `root` is "" in a container. 0, or -1 with a sentence. */
int account_enter(const char *root, const char *name, uid_t uid, gid_t gid, const char *home,
                  struct fault *f);

/* Makes `home` with its parents, and gives it to the user, unless it is a mount: then it is somebody's on the host. */
int account_home(const char *home, uid_t uid, gid_t gid, struct fault *f);

/* mkdir -p, owned by root. 0, or -1 with errno. `path` is absolute. */
int account_directories(const char *path);
