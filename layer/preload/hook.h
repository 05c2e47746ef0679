/* What a name of libc's in the layer is made of. It is exported with libc's prototype, and most are one call of by_rules.h; where
 * libc does more than a system call, REAL is libc's own. On x86_64 and aarch64 a `struct stat` and an off_t are the same with and
 * without 64 in the name, so those are one function with two names. */
#pragma once

#include "by_rules.h"
#include "route.h"

#define EXPORT     __attribute__((visibility("default")))
#define ALSO(name) EXPORT __attribute__((alias(#name)))

enum hook {
#define HOOK(name, family) HOOK_##name,
#include "hooks.def"
#undef HOOK
    HOOKS
};

/* The next one of that name: libc's, unless the user has preloaded something behind us. */
void *real_of(enum hook hook);
#define REAL(name) ((__typeof__(&(name)))real_of(HOOK_##name))

/* A function of libc's that this library may not need by name: it came to libc.so late. NULL: it is not there. */
void *real_symbol(const char *name);
