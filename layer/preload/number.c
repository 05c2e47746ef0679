/* System calls by their number: of those who call the kernel so through libc (syscall(2): Node's libuv, and programs that are
 * newer than the libc they were built with), and of programs without a layer, for whom mirror-init asks. */
#include "by_rules.h"
#include "route.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>

#include "libc.h"

/* Only what openat(2) could say too; with `resolve` the caller is careful about his own tree, and the kernel answers him. */
static long by_how(int dirfd, const char *path, const struct open_how *how, size_t size) {
    if (!how || size < sizeof *how || how->resolve || how->flags >> 31)
        return OWN(raw(SYS_openat2, dirfd, path, how, size));
    return open_by_rules(dirfd, path, (int)how->flags, (mode_t)how->mode);
}

#define TEXT(i)   ((const char *)(uintptr_t)a[i])
#define THING(i)  ((void *)(uintptr_t)a[i])
#define NUMBER(i) ((int)a[i])

bool times_of(struct timespec out[2], const struct timeval tv[2]) {
    for (int i = 0; tv && i < 2; i++) {
        if (tv[i].tv_usec < 0 || tv[i].tv_usec > 999999) {
            errno = EINVAL;
            return false;
        }
        out[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
    }
    return true;
}

#ifdef SYS_utimes /* younger machines have utimensat(2) alone */
static int by_timeval(int dirfd, const char *path, const struct timeval tv[2]) {
    struct timespec times[2];
    return times_of(times, tv) ? utimens_by_rules(dirfd, path, tv ? times : NULL, 0) : -1;
}
#endif

#ifdef SYS_utime
static int by_seconds(const char *path, const long t[2]) {
    const struct timespec times[2] = {{t ? t[0] : 0, 0}, {t ? t[1] : 0, 0}};
    return utimens_by_rules(AT_FDCWD, path, t ? times : NULL, 0);
}
#endif

/* What machines have whose system calls are older than the ones with "at". */
static long by_old_number(long n, const long a[6]) {
    switch (n) {
#ifdef SYS_open
    case SYS_open:
        return open_by_rules(AT_FDCWD, TEXT(0), NUMBER(1), (mode_t)a[2]);
    case SYS_creat:
        return open_by_rules(AT_FDCWD, TEXT(0), O_WRONLY | O_CREAT | O_TRUNC, (mode_t)a[1]);
    case SYS_stat:
        return stat_by_rules(AT_FDCWD, TEXT(0), THING(1), 0);
    case SYS_lstat:
        return stat_by_rules(AT_FDCWD, TEXT(0), THING(1), AT_SYMLINK_NOFOLLOW);
    case SYS_access:
        return access_by_rules(AT_FDCWD, TEXT(0), NUMBER(1), 0);
    case SYS_readlink:
        return readlink_by_rules(AT_FDCWD, TEXT(0), THING(1), (size_t)a[2]);
    case SYS_mkdir:
        return mkdir_by_rules(AT_FDCWD, TEXT(0), (mode_t)a[1]);
    case SYS_rmdir:
        return unlink_by_rules(AT_FDCWD, TEXT(0), AT_REMOVEDIR);
    case SYS_unlink:
        return unlink_by_rules(AT_FDCWD, TEXT(0), 0);
    case SYS_rename:
        return rename_by_rules(AT_FDCWD, TEXT(0), AT_FDCWD, TEXT(1), 0);
    case SYS_link:
        return link_by_rules(AT_FDCWD, TEXT(0), AT_FDCWD, TEXT(1), 0);
    case SYS_symlink:
        return symlink_by_rules(TEXT(0), AT_FDCWD, TEXT(1));
    case SYS_mknod:
        return mknod_by_rules(AT_FDCWD, TEXT(0), (mode_t)a[1], (dev_t)a[2]);
    case SYS_chmod:
        return chmod_by_rules(AT_FDCWD, TEXT(0), (mode_t)a[1], 0);
    case SYS_chown:
        return chown_by_rules(AT_FDCWD, TEXT(0), (uid_t)a[1], (gid_t)a[2], 0);
    case SYS_lchown:
        return chown_by_rules(AT_FDCWD, TEXT(0), (uid_t)a[1], (gid_t)a[2], AT_SYMLINK_NOFOLLOW);
    case SYS_utime:
        return by_seconds(TEXT(0), THING(1));
    case SYS_utimes:
        return by_timeval(AT_FDCWD, TEXT(0), THING(1));
    case SYS_futimesat:
        return by_timeval(NUMBER(0), TEXT(1), THING(2));
#endif
#ifdef SYS_renameat /* younger machines have renameat2(2) alone */
    case SYS_renameat:
        return rename_by_rules(NUMBER(0), TEXT(1), NUMBER(2), TEXT(3), 0);
#endif
    default:
        return OWN(raw(n, a[0], a[1], a[2], a[3], a[4], a[5]));
    }
}

static long by_attribute_number(long n, const long a[6]) {
    switch (n) {
    case SYS_truncate:
        return truncate_by_rules(TEXT(0), (off_t)a[1]);
    case SYS_fchmodat:
        return chmod_by_rules(NUMBER(0), TEXT(1), (mode_t)a[2], 0);
    case CALL_FCHMODAT2:
        return chmod_by_rules(NUMBER(0), TEXT(1), (mode_t)a[2], NUMBER(3));
    case SYS_fchownat:
        return chown_by_rules(NUMBER(0), TEXT(1), (uid_t)a[2], (gid_t)a[3], NUMBER(4));
    case SYS_utimensat:
        return utimens_by_rules(NUMBER(0), TEXT(1), THING(2), NUMBER(3));
    case SYS_getxattr:
        return getxattr_by_rules(TEXT(0), TEXT(1), THING(2), (size_t)a[3], FOLLOWED);
    case SYS_lgetxattr:
        return getxattr_by_rules(TEXT(0), TEXT(1), THING(2), (size_t)a[3], UNFOLLOWED);
    case SYS_listxattr:
        return listxattr_by_rules(TEXT(0), THING(1), (size_t)a[2], FOLLOWED);
    case SYS_llistxattr:
        return listxattr_by_rules(TEXT(0), THING(1), (size_t)a[2], UNFOLLOWED);
    case SYS_setxattr:
        return setxattr_by_rules(TEXT(0), TEXT(1), THING(2), (size_t)a[3], NUMBER(4), FOLLOWED);
    case SYS_lsetxattr:
        return setxattr_by_rules(TEXT(0), TEXT(1), THING(2), (size_t)a[3], NUMBER(4), UNFOLLOWED);
    case SYS_removexattr:
        return removexattr_by_rules(TEXT(0), TEXT(1), FOLLOWED);
    case SYS_lremovexattr:
        return removexattr_by_rules(TEXT(0), TEXT(1), UNFOLLOWED);
    case SYS_statfs:
        return statfs_by_rules(TEXT(0), THING(1));
    default:
        return by_old_number(n, a);
    }
}

long call_by_rules(long n, const long a[6]) {
    switch (n) {
    case SYS_openat:
        return open_by_rules(NUMBER(0), TEXT(1), NUMBER(2), (mode_t)a[3]);
    case CALL_OPENAT2:
        return by_how(NUMBER(0), TEXT(1), THING(2), (size_t)a[3]);
    case SYS_newfstatat:
        return stat_by_rules(NUMBER(0), TEXT(1), THING(2), NUMBER(3));
    case SYS_statx:
        return statx_by_rules(NUMBER(0), TEXT(1), NUMBER(2), (unsigned)a[3], THING(4));
    case SYS_faccessat:
        return access_by_rules(NUMBER(0), TEXT(1), NUMBER(2), 0);
    case CALL_FACCESSAT2:
        return access_by_rules(NUMBER(0), TEXT(1), NUMBER(2), NUMBER(3));
    case SYS_readlinkat:
        return readlink_by_rules(NUMBER(0), TEXT(1), THING(2), (size_t)a[3]);
    case SYS_mkdirat:
        return mkdir_by_rules(NUMBER(0), TEXT(1), (mode_t)a[2]);
    case SYS_unlinkat:
        return unlink_by_rules(NUMBER(0), TEXT(1), NUMBER(2));
    case SYS_renameat2:
        return rename_by_rules(NUMBER(0), TEXT(1), NUMBER(2), TEXT(3), (unsigned)a[4]);
    case SYS_linkat:
        return link_by_rules(NUMBER(0), TEXT(1), NUMBER(2), TEXT(3), NUMBER(4));
    case SYS_symlinkat:
        return symlink_by_rules(TEXT(0), NUMBER(1), TEXT(2));
    case SYS_mknodat:
        return mknod_by_rules(NUMBER(0), TEXT(1), (mode_t)a[2], (dev_t)a[3]);
    default:
        return by_attribute_number(n, a);
    }
}
