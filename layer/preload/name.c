/* Names that come, go and change. */
#include "by_rules.h"
#include "route.h"
#include "upper.h"

#include <sys/stat.h>

#include "libc.h"

static int plain_at_door(const struct place *p, enum door_op op, mode_t mode) {
    struct ask a = {.path = p->path};
    a.head.op = (uint16_t)op;
    a.head.mode = mode;
    return ask_door(&a);
}

int mkdir_by_rules(int dirfd, const char *path, mode_t mode) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, MAKES, SYS_mkdirat,
                plain_at_door(&p, DOOR_MKDIR, mode & ~place_mask() & 07777), MADE(mode));
}

int unlink_by_rules(int dirfd, const char *path, int flags) {
    struct place p;
    enum door_op op = flags & AT_REMOVEDIR ? DOOR_RMDIR : DOOR_UNLINK;
    switch (place_find(&p, dirfd, path, TAKES)) {
    case ROUTE_OWN:
        return OWN((int)raw(SYS_unlinkat, dirfd, path, flags));
    case ROUTE_HERE:
        return (int)raw(SYS_unlinkat, AT_FDCWD, p.path, flags);
    case ROUTE_TARGET:
        return plain_at_door(&p, op, 0);
    case ROUTE_FAILED:
        break;
    }
    return errno == EROFS && !(flags & AT_REMOVEDIR) && upper_is_socket(&p) ? 0 : -1;
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

int rename_by_rules(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
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
    if (one == ROUTE_OWN && other == ROUTE_OWN)
        return OWN((int)raw(SYS_renameat2, from_fd, from, to_fd, to, flags));
    struct name x = name_here(one, from_fd, from, &a), y = name_here(other, to_fd, to, &b);
    return (int)raw(SYS_renameat2, x.fd, x.path, y.fd, y.path, flags);
}

/* Devices, FIFOs and sockets are never made in the target. */
static int never(void) {
    errno = EPERM;
    return -1;
}

int mknod_by_rules(int dirfd, const char *path, mode_t mode, dev_t dev) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, MAKES, SYS_mknodat, never(), MADE(mode), dev);
}
