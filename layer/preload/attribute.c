/* Length, mode, owner and times of what a path names. */
#include "by_rules.h"
#include "route.h"

#include <stddef.h>
#include <sys/stat.h>

#include "libc.h"

static uint32_t door_flags(int flags) {
    return flags & AT_SYMLINK_NOFOLLOW ? DOOR_NOFOLLOW : 0;
}

static int truncate_at_door(const struct place *p, off_t length) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_TRUNCATE;
    a.head.length = length;
    return ask_door(&a);
}

int truncate_by_rules(const char *path, off_t length) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, CHANGES, (int)raw(SYS_truncate, path, length),
           (int)raw(SYS_truncate, p.path, length), truncate_at_door(&p, length));
}

static int chmod_at_door(const struct place *p, mode_t mode, int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_CHMOD;
    a.head.mode = mode;
    a.head.flags = door_flags(flags);
    return ask_door(&a);
}

/* The older call knows no flags. What AT_SYMLINK_NOFOLLOW says can be done by a descriptor that does not follow. */
static int chmod_here(int dirfd, const char *path, mode_t mode, int flags) {
    if (!flags)
        return (int)raw(SYS_fchmodat, dirfd, path, mode);
    if (flags != AT_SYMLINK_NOFOLLOW) {
        errno = EINVAL;
        return -1;
    }
    struct statx s = {0};
    int fd = (int)raw(SYS_openat, dirfd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0), why;
    if (fd < 0)
        return -1;
    struct fd_name name = fd_name(fd);
    long done = raw(SYS_statx, fd, "", AT_EMPTY_PATH, 0, &s);
    if (done == 0 && S_ISLNK(s.stx_mode)) {
        errno = EOPNOTSUPP; /* as libc: a symbolic link has no mode of its own */
        done = -1;
    } else if (done == 0)
        done = raw(SYS_fchmodat, AT_FDCWD, name.text, mode);
    why = errno;
    raw(SYS_close, fd);
    errno = why;
    return (int)done;
}

int chmod_by_rules(int dirfd, const char *path, mode_t mode, int flags) {
    struct place p;
    ROUTED(p, dirfd, path, CHANGES, chmod_here(dirfd, path, mode, flags),
           chmod_here(AT_FDCWD, p.path, mode, flags), chmod_at_door(&p, mode, flags));
}

static int chown_at_door(const struct place *p, uid_t uid, gid_t gid, int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_CHOWN;
    a.head.uid = uid;
    a.head.gid = gid;
    a.head.flags = door_flags(flags);
    return ask_door(&a);
}

int chown_by_rules(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, CHANGES, SYS_fchownat, chown_at_door(&p, uid, gid, flags), uid, gid,
                flags);
}

/* --- times --------------------------------------------------------------------------------------------------------------- */

static int times_at_door(const struct place *p, const struct timespec times[2], int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_UTIMENS;
    a.head.flags = door_flags(flags);
    for (int i = 0; i < 2; i++) {
        a.head.times[i].sec = times ? times[i].tv_sec : 0;
        a.head.times[i].nsec = times ? times[i].tv_nsec : UTIME_NOW;
    }
    return ask_door(&a);
}

int utimens_by_rules(int dirfd, const char *path, const struct timespec times[2], int flags) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, CHANGES, SYS_utimensat, times_at_door(&p, times, flags), times,
                flags);
}
