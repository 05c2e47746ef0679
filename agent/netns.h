/* Enter a namespace, make an fd, leave. Nothing else in the project calls setns(2).
 *
 * A process that may enter every namespace of a node must never be found in one by accident: each call here leaves before
 * it returns, and aborts if it cannot, because a thread that stays behind would dial, listen and look things up as
 * somebody else's pod. A thread kept inside the target would save two system calls per socket (measured: 0.4 us) and be
 * exactly that. */
#pragma once

#include "native/fault.h"

/* The calling thread's own namespace ("net" or "uts"), to come back to. An fd, or -1. */
int netns_home(const char *kind, struct fault *f);

/* Runs make(arg) inside the namespace `there` (an fd of /proc/PID/ns/..., of the kind that `home` is) on this thread.
 * Where that is `home`, it is entered by nobody. Returns what make returned, or -1 if it could not enter. `make` must not block for long and must not fail to return. */
int netns_within(int home, int there, int (*make)(void *arg, struct fault *f), void *arg,
                 struct fault *f);

/* socket(2), born in the network namespace `there`; CLOEXEC is added. An fd, or -1 with the fault's errno from socket(2). */
int netns_socket(int home, int there, int domain, int type, int protocol, struct fault *f);

/* The one exception: the calling process is that namespace's from here on, as a gate is (agent/gate/main.c), which is born for
 * one target, holds nothing of another and ends with it. Needs a process of one thread. 0, or -1. */
int netns_stay(int there, struct fault *f);
