/* Symbolic and hard links. */
#include "by_rules.h"
#include "route.h"

#include <string.h>
#include <sys/stat.h>

#include "libc.h"

static ssize_t readlink_at_door(const struct place *p, char *out, size_t room) {
    struct ask a = {.path = p->path, .body = out, .room = room};
    char whole[PATH_MAX]; /* the door gives all of it, or nothing */
    if (room < sizeof whole) {
        a.body = whole;
        a.room = sizeof whole;
    }
    a.head.op = DOOR_READLINK;
    if (ask_door(&a) < 0)
        return -1;
    size_t n = a.got < room ? a.got : room;
    if (a.body == whole)
        memcpy(out, whole, n);
    return (ssize_t)n;
}

ssize_t link_plain(char *text, ssize_t n) {
    ssize_t remark = sizeof PLACE_UNREACHABLE - 1;
    if (n <= remark || memcmp(text, PLACE_UNREACHABLE, (size_t)remark) != 0)
        return n;
    memmove(text, text + remark, (size_t)(n - remark));
    return n - remark;
}

ssize_t readlink_by_rules(int dirfd, const char *path, char *out, size_t room) {
    struct place p;
    ROUTED(p, dirfd, path, SEES, link_plain(out, raw(SYS_readlinkat, dirfd, path, out, room)),
           raw(SYS_readlinkat, AT_FDCWD, p.path, out, room), readlink_at_door(&p, out, room));
}

/* --- making them --------------------------------------------------------------------------------------------------------- */

static int symlink_at_door(const struct place *p, const char *says) {
    struct ask a = {.path = p->path, .second = says};
    a.head.op = DOOR_SYMLINK;
    return ask_door(&a);
}

int symlink_by_rules(const char *says, int dirfd, const char *path) {
    struct place p;
    ROUTED(p, dirfd, path, MAKES, (int)raw(SYS_symlinkat, says, dirfd, path),
           (int)raw(SYS_symlinkat, says, AT_FDCWD, p.path), symlink_at_door(&p, says));
}

static int link_at_door(const struct place *from, const struct place *to, int flags) {
    struct ask a = {.path = from->path, .second = to->path};
    a.head.op = DOOR_LINK;
    a.head.flags = flags & AT_SYMLINK_FOLLOW ? DOOR_FOLLOW : 0;
    return ask_door(&a);
}

int link_by_rules(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    struct place a, b;
    /* The one that it saw, or none: a copy would be another file, which git(1) for one takes for a fault. */
    enum route one = place_find_of_two(&a, from_fd, from, flags & AT_SYMLINK_FOLLOW ? LOOKS : SEES);
    if (one == ROUTE_FAILED)
        return -1;
    enum route other = place_find_of_two(&b, to_fd, to, MAKES);
    if (other == ROUTE_FAILED)
        return -1;
    if (one == ROUTE_TARGET && other == ROUTE_TARGET)
        return link_at_door(&a, &b, flags);
    if (one == ROUTE_TARGET || other == ROUTE_TARGET) {
        errno = EXDEV;
        return -1;
    }
    if (one == ROUTE_OWN && other == ROUTE_OWN)
        return OWN((int)raw(SYS_linkat, from_fd, from, to_fd, to, flags));
    struct name x = name_here(one, from_fd, from, &a), y = name_here(other, to_fd, to, &b);
    return (int)raw(SYS_linkat, x.fd, x.path, y.fd, y.path, flags);
}
