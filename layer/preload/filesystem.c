/* What the file system of a path has room for. */
#include "hook.h"

#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

#include "libc.h"

static int ask_statfs(const struct place *p, struct door_statfs *d) {
    struct ask a = {.path = p->path, .body = d, .room = sizeof *d};
    a.head.op = DOOR_STATFS;
    return ask_door(&a);
}

static int statfs_at_door(const struct place *p, struct statfs *s) {
    struct door_statfs d;
    if (ask_statfs(p, &d) < 0)
        return -1;
    memset(s, 0, sizeof *s);
    s->f_type = (__typeof__(s->f_type))d.type;
    s->f_bsize = (__typeof__(s->f_bsize))d.bsize;
    s->f_blocks = d.blocks;
    s->f_bfree = d.bfree;
    s->f_bavail = d.bavail;
    s->f_files = d.files;
    s->f_ffree = d.ffree;
    s->f_namelen = (__typeof__(s->f_namelen))d.namelen;
    s->f_frsize = (__typeof__(s->f_frsize))d.frsize;
    return 0;
}

EXPORT int statfs(const char *path, struct statfs *s) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, LOOKS, (int)raw(SYS_statfs, path, s), (int)raw(SYS_statfs, p.path, s),
           statfs_at_door(&p, s));
}

static int statvfs_at_door(const struct place *p, struct statvfs *s) {
    struct door_statfs d;
    if (ask_statfs(p, &d) < 0)
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
