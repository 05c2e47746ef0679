/* Who a process is for the file system, and a thread of ours that becomes the same.
 *
 * The kernel judges a file call by the thread's own fsuid, fsgid, groups and effective capabilities, so a thread can be the
 * target's process in these while the agent around it stays what it is (credentials(7): all of them are the thread's; libc's
 * wrappers change every thread, so the calls are raw). setfsuid(2) fails without a word: whatever was set is read back, and
 * what does not read back is a failure. There is no way back for the thread: it gives up its permitted set too. */
#pragma once

#include "native/fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CREDENTIALS_GROUPS 1024

struct credentials {
    uid_t uid;
    gid_t gid;
    uint64_t capabilities; /* of those that file calls ask for */
    uint32_t group_count;
    gid_t groups[CREDENTIALS_GROUPS];
};

/* Of /proc/PID/status, as this process's user namespace numbers them. 0, or -1. */
int credentials_read(pid_t pid, struct credentials *c, struct fault *f);
/* The calling thread is the same from now on; its umask is 0 where it may have its own, else the agent's. 0, or -1: then it must end. */
int credentials_take(const struct credentials *c, struct fault *f);
