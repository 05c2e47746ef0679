/* libc's names for the system calls on paths. */
#include "hook.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "libc.h"

/* --- opening ------------------------------------------------------------------------------------------------------------- */

#define MODE(flags, last)                                                                          \
    mode_t mode = 0;                                                                               \
    if (open_makes(flags)) {                                                                       \
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

/* --- looking ------------------------------------------------------------------------------------------------------------- */

EXPORT int stat(const char *path, struct stat *s) {
    return stat_by_rules(AT_FDCWD, path, s, 0);
}

EXPORT int lstat(const char *path, struct stat *s) {
    return stat_by_rules(AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW);
}

EXPORT int fstatat(int dirfd, const char *path, struct stat *s, int flags) {
    return stat_by_rules(dirfd, path, s, flags);
}

EXPORT int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *x) {
    return statx_by_rules(dirfd, path, flags, mask, x);
}

/* Before glibc 2.33 stat and its kin were these, with a version of the struct that is the only one on 64 bits. */
EXPORT int __xstat(int version, const char *path, struct stat *s);
EXPORT int __xstat(int version, const char *path, struct stat *s) {
    (void)version;
    return stat_by_rules(AT_FDCWD, path, s, 0);
}

EXPORT int __lxstat(int version, const char *path, struct stat *s);
EXPORT int __lxstat(int version, const char *path, struct stat *s) {
    (void)version;
    return stat_by_rules(AT_FDCWD, path, s, AT_SYMLINK_NOFOLLOW);
}

EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *s, int flags);
EXPORT int __fxstatat(int version, int dirfd, const char *path, struct stat *s, int flags) {
    (void)version;
    return stat_by_rules(dirfd, path, s, flags);
}

#ifdef __GLIBC__
struct stat64;
ALSO(stat) int stat64(const char *path, struct stat64 *s);
ALSO(lstat) int lstat64(const char *path, struct stat64 *s);
ALSO(fstatat) int fstatat64(int dirfd, const char *path, struct stat64 *s, int flags);
#else
ALSO(stat) int stat64(const char *path, struct stat *s);
ALSO(lstat) int lstat64(const char *path, struct stat *s);
ALSO(fstatat) int fstatat64(int dirfd, const char *path, struct stat *s, int flags);
#endif
ALSO(__xstat) int __xstat64(int version, const char *path, struct stat *s);
ALSO(__lxstat) int __lxstat64(int version, const char *path, struct stat *s);
ALSO(__fxstatat)
int __fxstatat64(int version, int dirfd, const char *path, struct stat *s, int flags);

EXPORT int faccessat(int dirfd, const char *path, int mode, int flags) {
    return access_by_rules(dirfd, path, mode, flags);
}

EXPORT int access(const char *path, int mode) {
    return access_by_rules(AT_FDCWD, path, mode, 0);
}

EXPORT int eaccess(const char *path, int mode) {
    return access_by_rules(AT_FDCWD, path, mode, AT_EACCESS);
}

ALSO(eaccess) int euidaccess(const char *path, int mode);

EXPORT ssize_t readlinkat(int dirfd, const char *path, char *out, size_t room) {
    return readlink_by_rules(dirfd, path, out, room);
}

EXPORT ssize_t readlink(const char *path, char *out, size_t room) {
    return readlink_by_rules(AT_FDCWD, path, out, room);
}

/* Fortified: the size of the buffer is known, and an overflow is a bug of the caller's. */
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t room, size_t size);
EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *out, size_t room, size_t size) {
    if (room > size)
        abort();
    return readlink_by_rules(dirfd, path, out, room);
}

EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t room, size_t size);
EXPORT ssize_t __readlink_chk(const char *path, char *out, size_t room, size_t size) {
    return __readlinkat_chk(AT_FDCWD, path, out, room, size);
}

/* --- changing names ------------------------------------------------------------------------------------------------------ */

EXPORT int mkdirat(int dirfd, const char *path, mode_t mode) {
    return mkdir_by_rules(dirfd, path, mode);
}

EXPORT int mkdir(const char *path, mode_t mode) {
    return mkdir_by_rules(AT_FDCWD, path, mode);
}

EXPORT int unlinkat(int dirfd, const char *path, int flags) {
    return unlink_by_rules(dirfd, path, flags);
}

EXPORT int unlink(const char *path) {
    return unlink_by_rules(AT_FDCWD, path, 0);
}

EXPORT int rmdir(const char *path) {
    return unlink_by_rules(AT_FDCWD, path, AT_REMOVEDIR);
}

/* remove(3): unlink(2) for files, rmdir(2) for directories; the first's EISDIR says which. */
EXPORT int remove(const char *path) {
    int before = errno;
    if (unlink_by_rules(AT_FDCWD, path, 0) == 0)
        return 0;
    if (errno != EISDIR)
        return -1;
    errno = before;
    return unlink_by_rules(AT_FDCWD, path, AT_REMOVEDIR);
}

EXPORT int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    return rename_by_rules(from_fd, from, to_fd, to, flags);
}

EXPORT int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    return rename_by_rules(from_fd, from, to_fd, to, 0);
}

EXPORT int rename(const char *from, const char *to) {
    return rename_by_rules(AT_FDCWD, from, AT_FDCWD, to, 0);
}

EXPORT int mknodat(int dirfd, const char *path, mode_t mode, dev_t dev) {
    return mknod_by_rules(dirfd, path, mode, dev);
}

EXPORT int mknod(const char *path, mode_t mode, dev_t dev) {
    return mknod_by_rules(AT_FDCWD, path, mode, dev);
}

EXPORT int mkfifoat(int dirfd, const char *path, mode_t mode) {
    return mknod_by_rules(dirfd, path, mode | S_IFIFO, 0);
}

EXPORT int mkfifo(const char *path, mode_t mode) {
    return mknod_by_rules(AT_FDCWD, path, mode | S_IFIFO, 0);
}

EXPORT int symlinkat(const char *says, int dirfd, const char *path) {
    return symlink_by_rules(says, dirfd, path);
}

EXPORT int symlink(const char *says, const char *path) {
    return symlink_by_rules(says, AT_FDCWD, path);
}

EXPORT int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    return link_by_rules(from_fd, from, to_fd, to, flags);
}

EXPORT int link(const char *from, const char *to) {
    return link_by_rules(AT_FDCWD, from, AT_FDCWD, to, 0);
}

#ifdef __GLIBC__
EXPORT long pathconf(const char *path, int name) {
    int fd = open_of_target(path, O_PATH | O_CLOEXEC, 0);
    if (fd == OPEN_NOT_OURS)
        return REAL(pathconf)(path, name);
    if (fd < 0)
        return -1;
    long most = fpathconf(fd, name);
    int why = errno;
    raw(SYS_close, fd);
    errno = why;
    return most;
}
#endif
