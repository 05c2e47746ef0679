/* The system calls on paths, decided by the rules: for libc's names (names.c), for who calls by number (number.c), and
 * for mirror-init, which makes them for programs without a layer. As the system calls: -1 and errno. */
#pragma once

#include "open.h"
#include "stat.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

struct statx;
struct statfs;

int statx_by_rules(int dirfd, const char *path, int flags, unsigned mask, struct statx *x);
int access_by_rules(int dirfd, const char *path, int mode, int flags);
ssize_t readlink_by_rules(int dirfd, const char *path, char *out, size_t room);
int statfs_by_rules(const char *path, struct statfs *s);

/* Without the remark that /proc has of what is in no tree of ours, if it is there: the length of what is left. */
ssize_t link_plain(char *text, ssize_t n);

/* What the door says of the file system of a place. */
struct place;
struct door_statfs;
int statfs_ask(const struct place *p, struct door_statfs *d);

int mkdir_by_rules(int dirfd, const char *path, mode_t mode);
int unlink_by_rules(int dirfd, const char *path, int flags);
int rename_by_rules(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int mknod_by_rules(int dirfd, const char *path, mode_t mode, dev_t dev);
int symlink_by_rules(const char *says, int dirfd, const char *path);
int link_by_rules(int from_fd, const char *from, int to_fd, const char *to, int flags);

int truncate_by_rules(const char *path, off_t length);
int chmod_by_rules(int dirfd, const char *path, mode_t mode, int flags);
int chown_by_rules(int dirfd, const char *path, uid_t uid, gid_t gid, int flags);
int utimens_by_rules(int dirfd, const char *path, const struct timespec times[2], int flags);

/* Of what the path names, or of the symbolic link that it is. */
enum follow { FOLLOWED, UNFOLLOWED };
ssize_t getxattr_by_rules(const char *path, const char *name, void *value, size_t size,
                          enum follow);
ssize_t listxattr_by_rules(const char *path, char *list, size_t size, enum follow);
int setxattr_by_rules(const char *path, const char *name, const void *value, size_t size, int flags,
                      enum follow);
int removexattr_by_rules(const char *path, const char *name, enum follow);

/* For utimens_by_rules: false, EINVAL. Nothing is written where `tv` is NULL. */
struct timeval;
bool times_of(struct timespec out[2], const struct timeval tv[2]);

/* Younger than some libc's headers; the same on every machine. */
enum { CALL_OPENAT2 = 437, CALL_FACCESSAT2 = 439, CALL_FCHMODAT2 = 452 };

/* By its number; what has no path of its own is made as it came. */
long call_by_rules(long number, const long arguments[6]);
