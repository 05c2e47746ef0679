/* A FUSE mount that is in no tree: only descriptors lead to it.
 *
 * One that is attached somewhere lets who holds a descriptor of a folder of it climb by ".." into the tree around it, which
 * is the bridge's own (CVE-2024-21626 is of that kind). Above the root of this one there is its root. */
#pragma once

#include "native/fault.h"

#include <stdbool.h>

/* A ready /dev/fuse, and a mount on it: nosuid, nodev, for all users. Both are the caller's to close; the device first, and
 * whoever waits for the mount is told ENOTCONN. `read_only`: of the file system, not the mount alone, so that the kernel
 * does not ask for times anew after each read. 0, or -1. */
int mount_detached(bool read_only, int *device, int *mount, struct fault *f);
