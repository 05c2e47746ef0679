/* The layer (layer/preload/) made ready for the command: its file of rules, the place of its copies, and LD_PRELOAD.
 *
 * One word serves both libcs. glibc's loader puts its own library directory in the place of $LIB (ld.so(8)), and below our folder
 * there is one of each such name with the library for glibc; musl's takes the word as it stands, and there is a folder of just
 * that name with the library for musl. So a program of either may start one of the other, and none is told of a library
 * that it cannot load. A program without a loader has a listener instead (supervisor.h). */
#pragma once

#include "start.h"

#define LAYER_PRELOAD "/.mirror-run/$LIB/layer.so"

/* 0, or -1 and why. Nothing if `s` has no rules. */
int layer_install(const struct start *s, struct fault *f);

/* The environment with LD_PRELOAD, after what the user has there: a new vector, or NULL when there is no memory. */
char **layer_environment(char **environment);
