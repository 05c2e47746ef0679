/* Symbolic and hard links, and the path that is left when all of them have been followed. */
#include "hook.h"
#include "open.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

#define UNREACHABLE "(unreachable)"

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

/* What /proc says of a directory that is in no tree of ours carries a remark; its name is what follows. */
static ssize_t without_remark(char *out, ssize_t n) {
    ssize_t remark = sizeof UNREACHABLE - 1;
    if (n <= remark || memcmp(out, UNREACHABLE, (size_t)remark) != 0)
        return n;
    memmove(out, out + remark, (size_t)(n - remark));
    return n - remark;
}

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *out, size_t room) {
    struct place p;
    ROUTED(p, dirfd, path, SEES, without_remark(out, raw(SYS_readlinkat, dirfd, path, out, room)),
           raw(SYS_readlinkat, AT_FDCWD, p.path, out, room), readlink_at_door(&p, out, room));
}

EXPORT ssize_t readlink(const char *path, char *out, size_t room) {
    return readlinkat(AT_FDCWD, path, out, room);
}

/* Fortified: the size of the buffer is known, and an overflow is a bug of the caller's. */
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t room, size_t size);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t room, size_t size) {
    if (room > size)
        abort();
    return readlinkat(dirfd, path, out, room);
}

EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t room, size_t size);
EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t room, size_t size) {
    return __readlinkat_chk(AT_FDCWD, path, out, room, size);
}

/* --- realpath: the kernel's own text for what was opened ----------------------------------------------------------------- */

/* False: errno. `text` has PATH_MAX octets. */
static bool name_of(int fd, char *text) {
    struct fd_name link = fd_name(fd);
    ssize_t len = raw(SYS_readlinkat, AT_FDCWD, link.text, text, PATH_MAX - 1);
    if (len < 0)
        return false;
    text[without_remark(text, len)] = '\0';
    return true;
}

static char *given(const char *text, char *resolved) {
    if (!resolved)
        return strdup(text);
    return memcpy(resolved, text, strlen(text) + 1);
}

/* A relative path below a directory of the target's is the kernel's to find, and not libc's: that looks for names. */
static int opened(const char *path) {
    char text[PATH_MAX];
    bool of_target = false;
    int fd = open_of_target(path, O_PATH | O_CLOEXEC, 0);
    if (fd == OPEN_NOT_OURS && path && *path && *path != '/' && place_active() &&
        place_cwd(text, sizeof text, &of_target) > 0 && of_target)
        fd = (int)raw(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    return fd;
}

EXPORT char *realpath(const char *path, char *resolved) {
    int fd = opened(path);
    if (fd == OPEN_NOT_OURS)
        return REAL(realpath)(path, resolved);
    char text[PATH_MAX];
    if (fd < 0)
        return NULL;
    bool known = name_of(fd, text);
    int why = errno;
    raw(SYS_close, fd);
    errno = why;
    return known ? given(text, resolved) : NULL;
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t size);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t size) {
    if (resolved && size < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path) {
    return realpath(path, NULL);
}

/* --- making them --------------------------------------------------------------------------------------------------------- */

static int symlink_at_door(const struct place *p, const char *says) {
    struct ask a = {.path = p->path, .second = says};
    a.head.op = DOOR_SYMLINK;
    return ask_door(&a);
}

EXPORT int symlinkat(const char *says, int dirfd, const char *path) {
    struct place p;
    ROUTED(p, dirfd, path, MAKES, (int)raw(SYS_symlinkat, says, dirfd, path),
           (int)raw(SYS_symlinkat, says, AT_FDCWD, p.path), symlink_at_door(&p, says));
}

EXPORT int symlink(const char *says, const char *path) {
    return symlinkat(says, AT_FDCWD, path);
}

static int link_at_door(const struct place *from, const struct place *to, int flags) {
    struct ask a = {.path = from->path, .second = to->path};
    a.head.op = DOOR_LINK;
    a.head.flags = flags & AT_SYMLINK_FOLLOW ? DOOR_FOLLOW : 0;
    return ask_door(&a);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    struct place a, b;
    enum route one = place_find_of_two(&a, from_fd, from, CHANGES);
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
    return (int)raw(SYS_linkat, one == ROUTE_HERE ? AT_FDCWD : from_fd,
                    one == ROUTE_HERE ? a.path : from, other == ROUTE_HERE ? AT_FDCWD : to_fd,
                    other == ROUTE_HERE ? b.path : to, flags);
}

EXPORT int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}
