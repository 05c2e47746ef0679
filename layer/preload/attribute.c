/* Length, mode, owner and times of what a path names. */
#include "hook.h"

#include <stddef.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <utime.h>

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

EXPORT int truncate(const char *path, off_t length) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, CHANGES, (int)raw(SYS_truncate, path, length),
           (int)raw(SYS_truncate, p.path, length), truncate_at_door(&p, length));
}

ALSO(truncate) int truncate64(const char *path, off64_t length);

static int chmod_at_door(const struct place *p, mode_t mode, int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_CHMOD;
    a.head.mode = mode;
    a.head.flags = door_flags(flags);
    return ask_door(&a);
}

/* The system call knows no flags; what libc makes of them is libc's affair. */
static int chmod_of_own(int dirfd, const char *path, mode_t mode, int flags) {
    return flags ? REAL(fchmodat)(dirfd, path, mode, flags)
                 : (int)raw(SYS_fchmodat, dirfd, path, mode);
}

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    struct place p;
    ROUTED(p, dirfd, path, CHANGES, chmod_of_own(dirfd, path, mode, flags),
           chmod_of_own(AT_FDCWD, p.path, mode, flags), chmod_at_door(&p, mode, flags));
}

EXPORT int chmod(const char *path, mode_t mode) {
    return fchmodat(AT_FDCWD, path, mode, 0);
}

EXPORT int lchmod(const char *path, mode_t mode) {
    return fchmodat(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}

static int chown_at_door(const struct place *p, uid_t uid, gid_t gid, int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_CHOWN;
    a.head.uid = uid;
    a.head.gid = gid;
    a.head.flags = door_flags(flags);
    return ask_door(&a);
}

EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, CHANGES, SYS_fchownat, chown_at_door(&p, uid, gid, flags), uid, gid,
                flags);
}

EXPORT int chown(const char *path, uid_t uid, gid_t gid) {
    return fchownat(AT_FDCWD, path, uid, gid, 0);
}

EXPORT int lchown(const char *path, uid_t uid, gid_t gid) {
    return fchownat(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
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

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, CHANGES, SYS_utimensat, times_at_door(&p, times, flags), times,
                flags);
}

static int by_microseconds(int dirfd, const char *path, const struct timeval tv[2], int flags) {
    if (!tv)
        return utimensat(dirfd, path, NULL, flags);
    struct timespec times[2];
    for (int i = 0; i < 2; i++) {
        if (tv[i].tv_usec < 0 || tv[i].tv_usec > 999999) {
            errno = EINVAL;
            return -1;
        }
        times[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
    }
    return utimensat(dirfd, path, times, flags);
}

EXPORT int utimes(const char *path, const struct timeval tv[2]) {
    return by_microseconds(AT_FDCWD, path, tv, 0);
}

EXPORT int lutimes(const char *path, const struct timeval tv[2]) {
    return by_microseconds(AT_FDCWD, path, tv, AT_SYMLINK_NOFOLLOW);
}

/* Without a path it is about the descriptor, which the kernel knows best. */
EXPORT int futimesat(int dirfd, const char *path, const struct timeval tv[2]) {
    return by_microseconds(dirfd, path, tv, 0);
}

EXPORT int utime(const char *path, const struct utimbuf *t) {
    if (!t)
        return utimensat(AT_FDCWD, path, NULL, 0);
    const struct timespec times[2] = {{t->actime, 0}, {t->modtime, 0}};
    return utimensat(AT_FDCWD, path, times, 0);
}
