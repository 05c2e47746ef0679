/* What is there, and whether it may be used. */
#include "by_rules.h"
#include "route.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "libc.h"

/* linux/stat.h's and libc's struct statx are the same; the door's is the former. */
static void narrow(const struct statx *x, struct stat *s) {
    memset(s, 0, sizeof *s);
    s->st_dev = makedev(x->stx_dev_major, x->stx_dev_minor);
    s->st_ino = x->stx_ino;
    s->st_mode = x->stx_mode;
    s->st_nlink = x->stx_nlink;
    s->st_uid = x->stx_uid;
    s->st_gid = x->stx_gid;
    s->st_rdev = makedev(x->stx_rdev_major, x->stx_rdev_minor);
    s->st_size = (off_t)x->stx_size;
    s->st_blksize = (blksize_t)x->stx_blksize;
    s->st_blocks = (blkcnt_t)x->stx_blocks;
    s->st_atim = (struct timespec){x->stx_atime.tv_sec, x->stx_atime.tv_nsec};
    s->st_mtim = (struct timespec){x->stx_mtime.tv_sec, x->stx_mtime.tv_nsec};
    s->st_ctim = (struct timespec){x->stx_ctime.tv_sec, x->stx_ctime.tv_nsec};
}

static int statx_at_door(const struct place *p, int flags, struct statx *x) {
    struct ask a = {.path = p->path, .body = x, .room = sizeof *x};
    a.head.op = DOOR_STAT;
    a.head.flags = flags & AT_SYMLINK_NOFOLLOW ? DOOR_NOFOLLOW : 0;
    return ask_door(&a);
}

static int stat_at_door(const struct place *p, int flags, struct stat *s) {
    struct statx x;
    if (statx_at_door(p, flags, &x) < 0)
        return -1;
    narrow(&x, s);
    return 0;
}

static enum intent intent_of(int flags) {
    return flags & AT_SYMLINK_NOFOLLOW ? SEES : LOOKS;
}

int stat_by_rules(int dirfd, const char *path, struct stat *s, int flags) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, intent_of(flags), SYS_newfstatat, stat_at_door(&p, flags, s), s,
                flags);
}

int statx_by_rules(int dirfd, const char *path, int flags, unsigned mask, struct statx *x) {
    struct place p;
    ROUTED_CALL(p, dirfd, path, intent_of(flags), SYS_statx, statx_at_door(&p, flags, x), flags,
                mask, x);
}

/* --- access ------------------------------------------------------------------------------------------------------------ */

static int access_at_door(const struct place *p, int mode, int flags) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_ACCESS;
    a.head.mode = (uint32_t)mode;
    a.head.flags = flags & AT_SYMLINK_NOFOLLOW ? DOOR_NOFOLLOW : 0;
    return ask_door(&a);
}

/* faccessat2(2) is Linux 5.8's; the older call knows no flags, and differs only for who is another in effect. */
static int access_here(int dirfd, const char *path, int mode, int flags) {
    if (flags) {
        int done = (int)raw(CALL_FACCESSAT2, dirfd, path, mode, flags);
        if (done == 0 || errno != ENOSYS)
            return done;
    }
    if (flags & ~AT_EACCESS) {
        errno = EINVAL;
        return -1;
    }
    return (int)raw(SYS_faccessat, dirfd, path, mode);
}

int access_by_rules(int dirfd, const char *path, int mode, int flags) {
    struct place p;
    ROUTED(p, dirfd, path, intent_of(flags), access_here(dirfd, path, mode, flags),
           access_here(AT_FDCWD, p.path, mode, flags), access_at_door(&p, mode, flags));
}
