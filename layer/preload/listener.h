/* The listener of a program that has no layer, by its nature or because its environment names none: a seccomp(2) filter that asks
 * mirror-init about its calls on files.
 *
 * It is installed just before such a program is executed, by whoever executes it (the layer, or mirror-init's child), and holds
 * for the program and all that it starts; what of these has a layer is known by a word in its calls (RAW_DECIDED) and passes.
 * Programs that have a layer from the start have no filter: theirs would cost no_new_privs, with which sudo and ping stop working,
 * and a notification for each call that libc makes by itself. */
#pragma once

#include "program.h"

#include <stdbool.h>

/* As sun_path begins, and its length: where mirror-init takes listeners. SEQPACKET: who has connected is told LISTENER_READY or
 * nothing, and sends the listener with one octet; before that word nothing is installed, for a filter without a supervisor is
 * ENOSYS for every call. */
#define LISTENER_NAME     "\0mirror-run/listeners"
#define LISTENER_NAME_LEN (sizeof(LISTENER_NAME) - 1)
#define LISTENER_READY    'r'

/* Before execve(2) of `path` from `dirfd`, or of what `dirfd` is, if it is "". Where the program needs a listener, this thread has
 * one when this returns, or the program will run without: then the files' door counts it. errno is as it was. Async-signal-safe,
 * and right in a child of vfork(2): filters are each thread's own. */
void listener_before(int dirfd, const char *path, char *const *environment);

/* Whether it would do anything. */
bool listener_wanted(int dirfd, const char *path, char *const *environment);
