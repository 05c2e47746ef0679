/* Names that come, go and change. */
#include "hook.h"

#include <stdio.h>
#include <sys/stat.h>

#include "libc.h"

static int plain_at_door(const struct place *p, enum door_op op, mode_t mode) {
    struct ask a = {.path = p->path};
    a.head.op = (uint16_t)op;
    a.head.mode = mode;
    return ask_door(&a);
}

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, MAKES, SYS_mkdirat,
                plain_at_door(&p, DOOR_MKDIR, mode & ~raw_mask() & 07777), mode);
}

EXPORT int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

EXPORT int unlinkat(int dirfd, const char *path, int flags) {
    struct place p;
    enum door_op op = flags & AT_REMOVEDIR ? DOOR_RMDIR : DOOR_UNLINK;
    ROUTED_CALL(p, dirfd, path, TAKES, SYS_unlinkat, plain_at_door(&p, op, 0), flags);
}

EXPORT int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

/* remove(3): unlink(2) for files, rmdir(2) for directories; the first's EISDIR says which. */
EXPORT int remove(const char *path) {
    int before = errno;
    if (unlinkat(AT_FDCWD, path, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    errno = before;
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

static int rename_at_door(const struct place *from, const struct place *to, unsigned flags) {
    struct ask a = {.path = from->path, .second = to->path};
    a.head.op = DOOR_RENAME;
    a.head.flags = flags;
    return ask_door(&a);
}

/* Where the new name is: the copy that it replaces, or a new one. */
static enum route find_new(struct place *p, int dirfd, const char *path) {
    enum route route = place_find_of_two(p, dirfd, path, MAKES);
    return route == ROUTE_FAILED && errno == EEXIST ? place_find(p, dirfd, path, REPLACES) : route;
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    struct place a, b;
    enum route one = place_find_of_two(&a, from_fd, from, TAKES);
    if (one == ROUTE_FAILED)
        return -1;
    enum route other = find_new(&b, to_fd, to);
    if (other == ROUTE_FAILED)
        return -1;
    if (one == ROUTE_TARGET && other == ROUTE_TARGET)
        return rename_at_door(&a, &b, flags);
    if (one == ROUTE_TARGET || other == ROUTE_TARGET) {
        errno = EXDEV; /* as across file systems: mv(1) and shutil.move copy then */
        return -1;
    }
    return (int)raw(SYS_renameat2, one == ROUTE_HERE ? AT_FDCWD : from_fd,
                    one == ROUTE_HERE ? a.path : from, other == ROUTE_HERE ? AT_FDCWD : to_fd,
                    other == ROUTE_HERE ? b.path : to, flags);
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    return renameat2(from_fd, from, to_fd, to, 0);
}

EXPORT int rename(const char *from, const char *to) {
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* Devices, FIFOs and sockets are never made in the target. */
static int never(void) {
    errno = EPERM;
    return -1;
}

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, MAKES, SYS_mknodat, never(), mode, dev);
}

EXPORT int mknod(const char *path, mode_t mode, dev_t dev) {
    return mknodat(AT_FDCWD, path, mode, dev);
}

EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode) {
    return mknodat(dirfd, path, mode | S_IFIFO, 0);
}

EXPORT int mkfifo(const char *path, mode_t mode) {
    return mkfifoat(AT_FDCWD, path, mode);
}
