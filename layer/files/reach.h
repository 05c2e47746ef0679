/* Paths of the app's, reached on the mount: resolved with its root as theirs, so that there is nothing else they could lead to. */
#pragma once

#include <stdint.h>

struct filesystem;

/* openat2(2) below the mount; `resolve` beside RESOLVE_IN_ROOT. A descriptor (close-on-exec), or -errno. */
int reach_by(int mount, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
/* O_PATH with `flags`; what the kernel knows for certain (a second at most) costs no round trip, what it does not, one. */
int reach(struct filesystem *fs, int mount, const char *path, int flags);
/* The folder of a path, and its last part in *name, which has room for the path: "." and ".." too, which the kernel then refuses
 * as it does anywhere. */
int reach_parent(struct filesystem *fs, int mount, const char *path, char *name);
