#include "open.h"

#include "hook.h"

#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "libc.h"

static bool makes(int flags) {
    return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE;
}

static int from_target(struct place *p, int flags, mode_t mode) {
    if ((flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP; /* as file systems that have none; programs then use a name */
        return -1;
    }
    struct ask a = {.path = p->path};
    a.head.op = DOOR_OPEN;
    a.head.flags = (uint32_t)(flags & ~O_ASYNC);
    a.head.mode = flags & O_CREAT ? mode & ~raw_mask() & 07777 : 0;
    if (ask_door(&a) < 0)
        return -1;
    if (!(flags & O_CLOEXEC))
        raw(SYS_fcntl, a.fd, F_SETFD, 0);
    return a.fd;
}

static enum intent intent_of(int flags) {
    if (flags & O_PATH || ((flags & O_ACCMODE) == O_RDONLY && !(flags & O_TRUNC) && !makes(flags)))
        return flags & O_NOFOLLOW ? SEES : LOOKS;
    if (flags & O_CREAT && flags & O_EXCL)
        return MAKES;
    return flags & O_TRUNC ? REPLACES : CHANGES;
}

static enum route find(struct place *p, int dirfd, const char *path, int flags) {
    enum route route = place_find(p, dirfd, path, intent_of(flags));
    if (route == ROUTE_FAILED && errno == ENOENT && flags & O_CREAT)
        route = place_find(p, dirfd, path, MAKES);
    return route;
}

int open_by_rules(int dirfd, const char *path, int flags, mode_t mode) {
    struct place p;
    switch (find(&p, dirfd, path, flags)) {
    case ROUTE_OWN:
        return (int)raw(SYS_openat, dirfd, path, flags, mode);
    case ROUTE_HERE:
        return (int)raw(SYS_openat, AT_FDCWD, p.path, flags, mode);
    case ROUTE_TARGET:
        return from_target(&p, flags, mode);
    case ROUTE_FAILED:
        break;
    }
    return -1;
}

int open_of_target(const char *path, int flags, mode_t mode) {
    struct place p;
    switch (find(&p, AT_FDCWD, path, flags)) {
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

#define MODE(flags, last)                                                                          \
    mode_t mode = 0;                                                                               \
    if (makes(flags)) {                                                                            \
        va_list list;                                                                              \
        va_start(list, last);                                                                      \
        mode = va_arg(list, mode_t);                                                               \
        va_end(list);                                                                              \
    }

EXPORT int open(const char *path, int flags, ...) {
    MODE(flags, flags)
    return open_by_rules(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int dirfd, const char *path, int flags, ...) {
    MODE(flags, flags)
    return open_by_rules(dirfd, path, flags, mode);
}

EXPORT int creat(const char *path, mode_t mode) {
    return open_by_rules(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

/* What a fortified program calls when it gives no mode. */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags) {
    return open_by_rules(AT_FDCWD, path, flags, 0);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags);
EXPORT int __openat_2(int dirfd, const char *path, int flags) {
    return open_by_rules(dirfd, path, flags, 0);
}

ALSO(open) int open64(const char *path, int flags, ...);
ALSO(openat) int openat64(int dirfd, const char *path, int flags, ...);
ALSO(creat) int creat64(const char *path, mode_t mode);
ALSO(__open_2) int __open64_2(const char *path, int flags);
ALSO(__openat_2) int __openat64_2(int dirfd, const char *path, int flags);
