/* What the file system of a path has room for. */
#include "by_rules.h"
#include "route.h"

#include <string.h>
#include <sys/vfs.h>

#include "libc.h"

int statfs_ask(const struct place *p, struct door_statfs *d) {
    struct ask a = {.path = p->path, .body = d, .room = sizeof *d};
    a.head.op = DOOR_STATFS;
    return ask_door(&a);
}

static int statfs_at_door(const struct place *p, struct statfs *s) {
    struct door_statfs d;
    if (statfs_ask(p, &d) < 0)
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

int statfs_by_rules(const char *path, struct statfs *s) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, LOOKS, (int)raw(SYS_statfs, path, s), (int)raw(SYS_statfs, p.path, s),
           statfs_at_door(&p, s));
}
