/* What every hook is made of: validate → decide → act.
 *
 * A hook is exported under libc's name, with libc's prototype. Most act by a raw system call or at the door; where libc does
 * more than a system call, REAL is libc's own. On x86_64 and aarch64 a `struct stat` and an off_t are the same with and
 * without 64 in the name, so those are one function with two names. */
#pragma once

#include "ask.h"
#include "place.h"
#include "raw.h"

#include <errno.h>

#define EXPORT     __attribute__((visibility("default")))
#define ALSO(name) EXPORT __attribute__((alias(#name)))

/* Where `path` leads decides which of three is done; ROUTE_FAILED has said its errno. */
#define ROUTED(p, dirfd, path, intent, own, here, target)                                          \
    do {                                                                                           \
        switch (place_find(&(p), dirfd, path, intent)) {                                           \
        case ROUTE_OWN:                                                                            \
            return own;                                                                            \
        case ROUTE_HERE:                                                                           \
            return here;                                                                           \
        case ROUTE_TARGET:                                                                         \
            return target;                                                                         \
        case ROUTE_FAILED:                                                                         \
            break;                                                                                 \
        }                                                                                          \
        return -1;                                                                                 \
    } while (0)

/* The same for a system call that takes dirfd and path first: "how" may stand for further arguments. */
#define ROUTED_CALL(p, dirfd, path, intent, number, target, ...)                                   \
    ROUTED(p, dirfd, path, intent, (int)raw(number, dirfd, path, __VA_ARGS__),                     \
           (int)raw(number, AT_FDCWD, (p).path, __VA_ARGS__), target)

enum hook {
#define HOOK(name, family) HOOK_##name,
#include "hooks.def"
#undef HOOK
    HOOKS
};

/* The next one of that name: libc's, unless the user has preloaded something behind us. */
void *real_of(enum hook hook);
#define REAL(name) ((__typeof__(&(name)))real_of(HOOK_##name))
