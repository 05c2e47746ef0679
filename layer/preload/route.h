/* validate → decide → act: what every call on a path is made of. It acts by a raw system call or at the door. */
#pragma once

#include "ask.h"
#include "place.h"
#include "raw.h"

#include <errno.h>

/* The call as it was made, which only who made it can make: in mirror-init, which decides for others, it is left to them. */
#ifdef LAYER_FOR_OTHERS
#define OWN(call)  (place_left(), -1)
#define MADE(mode) ((mode) & ~place_mask()) /* mirror-init's own umask is 0 */
#else
#define OWN(call)  (call)
#define MADE(mode) (mode)
#endif

/* Where `path` leads decides which of three is done; ROUTE_FAILED has said its errno. */
#define ROUTED(p, dirfd, path, intent, own, here, target)                                          \
    do {                                                                                           \
        switch (place_find(&(p), dirfd, path, intent)) {                                           \
        case ROUTE_OWN:                                                                            \
            return OWN(own);                                                                       \
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

/* What to give to a call of two paths for one that was decided to be here. */
struct name {
    int fd;
    const char *path;
};

static inline struct name name_here(enum route route, int dirfd, const char *path,
                                    const struct place *p) {
#ifdef LAYER_FOR_OTHERS
    dirfd = AT_FDCWD; /* the descriptor is theirs, and what is joined to it is not */
    route = *path == '/' ? route : ROUTE_HERE;
#endif
    return route == ROUTE_HERE ? (struct name){AT_FDCWD, p->path} : (struct name){dirfd, path};
}
