/* open(2), and what it asks of the door. */
#include "open.h"

#include "route.h"
#include "upper.h"

#include <stdbool.h>
#include <sys/stat.h>

#include "libc.h"

/* Whether it may be a folder that is going to be listed. */
static bool may_list(int flags) {
    return !(flags & (O_PATH | O_CREAT | O_TRUNC)) && (flags & O_ACCMODE) == O_RDONLY;
}

static int from_target(struct place *p, int flags, mode_t mode) {
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP; /* as file systems that have none; programs then use a name */
        return -1;
    }
    struct ask a = {.path = p->path};
    a.head.op = DOOR_OPEN;
    a.head.flags = (uint32_t)(flags & ~O_ASYNC);
    a.head.mode = flags & O_CREAT ? mode & ~place_mask() & 07777 : 0;
    int made = may_list(flags) ? upper_folder(p) : -1;
    if (made >= 0)
        a.give = &made;
    int done = ask_door(&a);
    if (made >= 0)
        raw(SYS_close, made);
    if (done < 0)
        return -1;
    if (!(flags & O_CLOEXEC))
        raw(SYS_fcntl, a.fd, F_SETFD, 0);
    return a.fd;
}

static enum intent intent_of(int flags) {
    if (flags & O_PATH ||
        ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) && !open_makes(flags)))
        return flags & O_NOFOLLOW ? SEES : LOOKS;
    if (flags & O_CREAT && flags & O_EXCL)
        return MAKES;
    return flags & O_TRUNC ? REPLACES : CHANGES;
}

/* From a folder of the target's the kernel goes on by itself, but knows nothing of what the app has made. */
static bool holds_made(const struct place *p, int flags) {
    int fd = p->of_target && may_list(flags) ? upper_folder(p) : -1;
    if (fd >= 0)
        raw(SYS_close, fd);
    return fd >= 0;
}

enum route open_find(struct place *p, int dirfd, const char *path, int flags) {
    enum route route = place_find(p, dirfd, path, intent_of(flags));
    if (route == ROUTE_FAILED && errno == ENOENT && flags & O_CREAT)
        route = place_find(p, dirfd, path, MAKES);
    return route == ROUTE_OWN && holds_made(p, flags) ? ROUTE_TARGET : route;
}

int open_by_rules(int dirfd, const char *path, int flags, mode_t mode) {
    struct place p;
    switch (open_find(&p, dirfd, path, flags)) {
    case ROUTE_OWN:
        return OWN((int)raw(SYS_openat, dirfd, path, flags, mode));
    case ROUTE_HERE:
        return (int)raw(SYS_openat, AT_FDCWD, p.path, flags, open_makes(flags) ? MADE(mode) : 0);
    case ROUTE_TARGET:
        return from_target(&p, flags, mode);
    case ROUTE_FAILED:
        break;
    }
    return -1;
}

int open_of_target(const char *path, int flags, mode_t mode) {
    struct place p;
    switch (open_find(&p, AT_FDCWD, path, flags)) {
    case ROUTE_OWN:
        return OPEN_NOT_OURS;
    case ROUTE_HERE:
        return (int)raw(SYS_openat, AT_FDCWD, p.path, flags, mode);
    case ROUTE_TARGET:
        return from_target(&p, flags, mode);
    case ROUTE_FAILED:
        break;
    }
    return -1;
}
