/* libc's names for what changes and tells the attributes of files and file systems. */
#include "hook.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <utime.h>

#include "libc.h"

EXPORT int truncate(const char *path, off_t length) {
    return truncate_by_rules(path, length);
}

ALSO(truncate) int truncate64(const char *path, off64_t length);

EXPORT int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    return chmod_by_rules(dirfd, path, mode, flags);
}

EXPORT int chmod(const char *path, mode_t mode) {
    return chmod_by_rules(AT_FDCWD, path, mode, 0);
}

EXPORT int lchmod(const char *path, mode_t mode) {
    return chmod_by_rules(AT_FDCWD, path, mode, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fchownat(int dirfd, const char *path, uid_t uid, gid_t gid, int flags) {
    return chown_by_rules(dirfd, path, uid, gid, flags);
}

EXPORT int chown(const char *path, uid_t uid, gid_t gid) {
    return chown_by_rules(AT_FDCWD, path, uid, gid, 0);
}

EXPORT int lchown(const char *path, uid_t uid, gid_t gid) {
    return chown_by_rules(AT_FDCWD, path, uid, gid, AT_SYMLINK_NOFOLLOW);
}

/* --- times --------------------------------------------------------------------------------------------------------------- */

EXPORT int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    return utimens_by_rules(dirfd, path, times, flags);
}

static int utimes_by_rules(int dirfd, const char *path, const struct timeval tv[2], int flags) {
    struct timespec times[2];
    return times_of(times, tv) ? utimens_by_rules(dirfd, path, tv ? times : NULL, flags) : -1;
}

EXPORT int utimes(const char *path, const struct timeval tv[2]) {
    return utimes_by_rules(AT_FDCWD, path, tv, 0);
}

EXPORT int lutimes(const char *path, const struct timeval tv[2]) {
    return utimes_by_rules(AT_FDCWD, path, tv, AT_SYMLINK_NOFOLLOW);
}

/* Without a path it is about the descriptor, which the kernel knows best. */
EXPORT int futimesat(int dirfd, const char *path, const struct timeval tv[2]) {
    return utimes_by_rules(dirfd, path, tv, 0);
}

EXPORT int utime(const char *path, const struct utimbuf *t) {
    if (!t)
        return utimens_by_rules(AT_FDCWD, path, NULL, 0);
    const struct timespec times[2] = {{t->actime, 0}, {t->modtime, 0}};
    return utimens_by_rules(AT_FDCWD, path, times, 0);
}

/* --- extended attributes -------------------------------------------------------------------------------------------------- */

EXPORT ssize_t getxattr(const char *path, const char *name, void *value, size_t size) {
    return getxattr_by_rules(path, name, value, size, FOLLOWED);
}

EXPORT ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size) {
    return getxattr_by_rules(path, name, value, size, UNFOLLOWED);
}

EXPORT ssize_t listxattr(const char *path, char *list, size_t size) {
    return listxattr_by_rules(path, list, size, FOLLOWED);
}

EXPORT ssize_t llistxattr(const char *path, char *list, size_t size) {
    return listxattr_by_rules(path, list, size, UNFOLLOWED);
}

EXPORT int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    return setxattr_by_rules(path, name, value, size, flags, FOLLOWED);
}

EXPORT int lsetxattr(const char *path, const char *name, const void *value, size_t size,
                     int flags) {
    return setxattr_by_rules(path, name, value, size, flags, UNFOLLOWED);
}

EXPORT int removexattr(const char *path, const char *name) {
    return removexattr_by_rules(path, name, FOLLOWED);
}

EXPORT int lremovexattr(const char *path, const char *name) {
    return removexattr_by_rules(path, name, UNFOLLOWED);
}

/* --- file systems -------------------------------------------------------------------------------------------------------- */

EXPORT int statfs(const char *path, struct statfs *s) {
    return statfs_by_rules(path, s);
}

static int statvfs_at_door(const struct place *p, struct statvfs *s) {
    struct door_statfs d;
    if (statfs_ask(p, &d) < 0)
        return -1;
    memset(s, 0, sizeof *s);
    s->f_bsize = d.bsize;
    s->f_frsize = d.frsize ? d.frsize : d.bsize;
    s->f_blocks = d.blocks;
    s->f_bfree = d.bfree;
    s->f_bavail = d.bavail;
    s->f_files = d.files;
    s->f_ffree = s->f_favail = d.ffree;
    s->f_namemax = d.namelen;
    return 0;
}

EXPORT int statvfs(const char *path, struct statvfs *s) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, LOOKS, REAL(statvfs)(path, s), REAL(statvfs)(p.path, s),
           statvfs_at_door(&p, s));
}

#ifdef __GLIBC__
struct statfs64;
struct statvfs64;
ALSO(statfs) int statfs64(const char *path, struct statfs64 *s);
ALSO(statvfs) int statvfs64(const char *path, struct statvfs64 *s);
#else
ALSO(statfs) int statfs64(const char *path, struct statfs *s);
ALSO(statvfs) int statvfs64(const char *path, struct statvfs *s);
#endif
