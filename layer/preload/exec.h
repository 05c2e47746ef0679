/* What running a program of the target's takes, for whoever becomes it (exec.c) and whoever starts it beside itself (spawn.c). */
#pragma once

#include "place.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/* A script's first line; interpreter NULL: it is none. */
struct exec_script {
    char line[256]; /* as much as the kernel looks at (BINPRM_BUF_SIZE) */
    const char *interpreter, *argument;
};

/* The target's program, close-on-exec, and what its first line says; -1 and errno. */
int exec_open(const struct place *p, struct exec_script *script);

size_t exec_count(char *const *arguments);
/* The interpreter's arguments into `out`, which has room for exec_count() + 4. */
void exec_script_arguments(const struct exec_script *script, const char *path,
                           char *const *arguments, const char **out);

/* $PATH; then path after path of `name` in its folders ("" where one is too long). False: there are no more. */
const char *exec_dirs(void);
bool exec_next(const char **dirs, const char *name, char out[PATH_MAX]);
