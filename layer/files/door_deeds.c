#include "layer/files/door_deeds.h"

#include "layer/files/made.h"
#include "layer/files/reach.h"
#include "layer/files/sockets.h"
#include "layer/files/walk.h"
#include "layer/files/watches.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What may be asked of open(2). */
#define OPEN_FLAGS                                                                                 \
    ((uint32_t)(O_ACCMODE | O_APPEND | O_CREAT | O_DIRECT | O_DIRECTORY | O_DSYNC | O_EXCL |       \
                O_LARGEFILE | O_NOATIME | O_NOCTTY | O_NOFOLLOW | O_NONBLOCK | O_PATH | O_SYNC |   \
                O_TRUNC | O_CLOEXEC | 0100000 /* O_LARGEFILE, which is 0 here */))

static int done(long result) {
    return result < 0 ? -errno : (int)result;
}

static void own_path(char out[32], int fd) {
    snprintf(out, 32, "/proc/self/fd/%d", fd);
}

static int reach_path(const struct door_ask_parts *a, const char *path, int flags) {
    return reach(a->fs, a->mount, path, flags);
}

/* --- opening -------------------------------------------------------------------------------------------------------------- */

/* -ENXIO: a device's, a FIFO's or a socket's node. The kernel here would open its own of that number; the target's are not
 * served. */
static int check_type(int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISLNK(st.st_mode))
        return -ELOOP;
    return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode) ? 0 : -ENXIO;
}

static int open_there(const struct door_ask_parts *a, int flags) {
    int path = reach_by(a->mount, a->path,
                        (uint64_t)(O_PATH | (flags & (O_NOFOLLOW | O_DIRECTORY))), 0, 0);
    if (path < 0)
        return path;
    int fd = check_type(path);
    if (fd == 0) {
        char again[32];
        own_path(again, path);
        fd = done(open(again, (flags & ~O_NOFOLLOW) | O_CLOEXEC));
    }
    /* The kernel reads twice as far ahead then: 256 KiB, which is what one request carries. It errs for folders. */
    if (fd >= 0)
        posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    close(path);
    return fd;
}

/* It may be there by now, and be anything: O_NONBLOCK, until it is known that it is a file. */
static int open_new(const struct door_ask_parts *a, int flags) {
    int fd = reach_by(a->mount, a->path, (uint64_t)(flags | O_NONBLOCK), a->ask->mode & 07777, 0);
    if (fd < 0)
        return fd;
    int err = check_type(fd);
    if (!err && !(flags & O_NONBLOCK))
        err = done(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK));
    if (!err)
        return fd;
    close(fd);
    return err;
}

static int do_open(struct door_ask_parts *a) {
    int flags = (int)a->ask->flags, fd;
    if (a->ask->flags & ~OPEN_FLAGS)
        return -EINVAL;
    if (flags & O_PATH) {
        fd = reach_path(a, a->path, flags & (O_NOFOLLOW | O_DIRECTORY));
    } else if (flags & O_CREAT) {
        fd = open_new(a, flags);
    } else {
        bool plain = (flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
        uint64_t walk = walk_ahead(a->fs, a->path, plain, flags & O_ACCMODE, flags & O_NOFOLLOW);
        bool content = walk_content(a->fs, walk);
        fd = open_there(a, flags);
        if (fd >= 0 && content)
            walk_store(a->fs, walk);
        walk_over(a->fs, walk);
    }
    if (fd < 0)
        return fd;
    if (a->given >= 0)
        made_join(a->made_here, fd, a->given);
    a->fd = fd;
    return 0;
}

/* --- connecting ------------------------------------------------------------------------------------------------------------ */

static int do_connect(struct door_ask_parts *a) {
    uint64_t handle = 0;
    int type = a->ask->size ? (int)a->ask->size : SOCK_STREAM;
    if (type != SOCK_STREAM && type != SOCK_SEQPACKET && type != SOCK_DGRAM)
        return -EPROTOTYPE;
    if (type == SOCK_DGRAM && sockets_known(a->fs, a->path, a->body, &a->made))
        return 0;
    int err = walk_connect(a->fs, a->path, type, &handle);
    const struct sockets_wish wish = {handle, type, a->path};
    return err ? err : sockets_offer(a->fs, &wish, a->body, &a->made);
}

static int do_watch(struct door_ask_parts *a) {
    int fd = watches_add(a->watches, a->path, a->ask->flags & DOOR_NOFOLLOW);
    if (fd < 0)
        return fd;
    a->fd = fd;
    return 0;
}

/* --- looking -------------------------------------------------------------------------------------------------------------- */

static int do_stat(struct door_ask_parts *a, int fd) {
    a->made = sizeof(struct statx);
    return done(statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, (struct statx *)(void *)a->body));
}

static int do_access(struct door_ask_parts *a, int fd) {
    return done(syscall(SYS_faccessat2, fd, "", a->ask->mode, AT_EMPTY_PATH));
}

static int do_statfs(struct door_ask_parts *a, int fd) {
    struct statfs st;
    if (fstatfs(fd, &st) < 0)
        return -errno;
    struct door_statfs out = {.type = (uint64_t)st.f_type,
                              .bsize = (uint64_t)st.f_bsize,
                              .blocks = st.f_blocks,
                              .bfree = st.f_bfree,
                              .bavail = st.f_bavail,
                              .files = st.f_files,
                              .ffree = st.f_ffree,
                              .namelen = (uint64_t)st.f_namelen,
                              .frsize = (uint64_t)st.f_frsize};
    memcpy(a->body, &out, sizeof out);
    a->made = sizeof out;
    return 0;
}

static int do_readlink(struct door_ask_parts *a) {
    int fd = reach_path(a, a->path, O_NOFOLLOW);
    if (fd < 0)
        return fd;
    int n = done(readlinkat(fd, "", (char *)a->body, DOOR_PATH));
    close(fd);
    if (n >= 0)
        a->made = (uint32_t)n;
    return n == -ENOENT ? -EINVAL : n; /* readlinkat(2): of what is no symlink */
}

/* As getxattr(2) and listxattr(2): with size 0, how long it is. */
static int get_xattr(struct door_ask_parts *a, const char *path, const char *name) {
    size_t size = a->ask->size < DOOR_VALUE ? a->ask->size : DOOR_VALUE;
    int n =
        done(name ? getxattr(path, name, a->body, size) : listxattr(path, (char *)a->body, size));
    if (n > 0 && size > 0)
        a->made = (uint32_t)n;
    return n;
}

/* --- changing an inode ------------------------------------------------------------------------------------------------------ */

static int do_utimens(const struct door_ask_parts *a, const char *path) {
    struct timespec times[2];
    for (int i = 0; i < 2; i++)
        times[i] =
            (struct timespec){.tv_sec = a->ask->times[i].sec, .tv_nsec = a->ask->times[i].nsec};
    return done(utimensat(AT_FDCWD, path, times, 0));
}

/* What is done to a path once it has been reached: `path` is /proc/self/fd/N, which is the inode itself. */
static int do_reached(struct door_ask_parts *a, int fd) {
    char path[32];
    own_path(path, fd);
    switch ((enum door_op)a->ask->op) {
    case DOOR_STAT:
        return do_stat(a, fd);
    case DOOR_ACCESS:
        return do_access(a, fd);
    case DOOR_STATFS:
        return do_statfs(a, fd);
    case DOOR_TRUNCATE:
        return done(truncate(path, a->ask->length));
    case DOOR_CHMOD:
        return done(chmod(path, a->ask->mode & 07777));
    case DOOR_CHOWN:
        return done(fchownat(fd, "", a->ask->uid, a->ask->gid, AT_EMPTY_PATH));
    case DOOR_UTIMENS:
        return do_utimens(a, path);
    case DOOR_GETXATTR:
        return get_xattr(a, path, a->second);
    case DOOR_LISTXATTR:
        return get_xattr(a, path, NULL);
    case DOOR_SETXATTR:
        return done(setxattr(path, a->second, a->value, a->ask->value_len,
                             (int)(a->ask->flags & ~DOOR_NOFOLLOW)));
    case DOOR_REMOVEXATTR:
        return done(removexattr(path, a->second));
    default:
        return -EINVAL;
    }
}

/* --- changing names --------------------------------------------------------------------------------------------------------- */

static int make_link(const struct door_ask_parts *a, int folder, const char *name) {
    int from = reach_path(a, a->path, a->ask->flags & DOOR_FOLLOW ? 0 : O_NOFOLLOW);
    if (from < 0)
        return from;
    char path[32];
    own_path(path, from);
    int result = done(linkat(AT_FDCWD, path, folder, name, AT_SYMLINK_FOLLOW));
    close(from);
    return result;
}

static int move(const struct door_ask_parts *a, int folder, const char *name) {
    char old[DOOR_PATH + 1];
    int from = reach_parent(a->fs, a->mount, a->path, old);
    if (from < 0)
        return from;
    int result = done(renameat2(from, old, folder, name, a->ask->flags));
    close(from);
    return result;
}

static int do_named(const struct door_ask_parts *a, int folder, const char *name) {
    switch ((enum door_op)a->ask->op) {
    case DOOR_MKDIR:
        return done(mkdirat(folder, name, a->ask->mode & 07777));
    case DOOR_RMDIR:
        return done(unlinkat(folder, name, AT_REMOVEDIR));
    case DOOR_UNLINK:
        return done(unlinkat(folder, name, 0));
    case DOOR_SYMLINK:
        return done(symlinkat(a->second, folder, name));
    case DOOR_LINK:
        return make_link(a, folder, name);
    case DOOR_RENAME:
        return move(a, folder, name);
    default:
        return -EINVAL;
    }
}

int door_do(struct door_ask_parts *a) {
    char name[DOOR_PATH + 1];
    int fd, result;
    walk_refresh(a->fs);
    switch ((enum door_op)a->ask->op) {
    case DOOR_OPEN:
        return do_open(a);
    case DOOR_READLINK:
        return do_readlink(a);
    case DOOR_CONNECT:
        return do_connect(a);
    case DOOR_WATCH:
        return do_watch(a);
    case DOOR_MKDIR:
    case DOOR_RMDIR:
    case DOOR_UNLINK:
    case DOOR_SYMLINK:
        fd = reach_parent(a->fs, a->mount, a->path, name);
        result = fd < 0 ? fd : do_named(a, fd, name);
        break;
    case DOOR_LINK:
    case DOOR_RENAME:
        fd = reach_parent(a->fs, a->mount, a->second, name);
        result = fd < 0 ? fd : do_named(a, fd, name);
        break;
    default:
        fd = reach_path(a, a->path, a->ask->flags & DOOR_NOFOLLOW ? O_NOFOLLOW : 0);
        result = fd < 0 ? fd : do_reached(a, fd);
        break;
    }
    if (fd >= 0)
        close(fd);
    return result;
}
