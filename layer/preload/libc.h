/* What libcs have in different ways: glibc 2.17 and newer, musl 1.2. Included last, after libc's own headers.
 *
 * musl has no names with 64 of its own: where it has them at all they are macros, and the library exports them for programs
 * that were built for glibc. statx(2) and renameat2(2) came to it late. */
#pragma once

#include <stdint.h>
#include <sys/stat.h>

#ifndef __GLIBC__
#undef open64
#undef openat64
#undef creat64
#undef fopen64
#undef freopen64
#undef stat64
#undef lstat64
#undef fstatat64
#undef truncate64
#undef statfs64
#undef statvfs64
#undef mkstemp64
#undef mkostemp64
#undef mkstemps64
#undef mkostemps64
#undef nftw64
#undef ftw64
#undef scandir64
#undef glob64
#undef off64_t
#define off64_t off_t

char *getwd(char *out);
char *canonicalize_file_name(const char *path);
int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

#ifndef STATX_TYPE
#define STATX_SIZE        0x200u
#define STATX_BASIC_STATS 0x7ffu

struct statx_timestamp {
    int64_t tv_sec;
    uint32_t tv_nsec;
    int32_t pad;
};

/* linux/stat.h */
struct statx {
    uint32_t stx_mask, stx_blksize;
    uint64_t stx_attributes;
    uint32_t stx_nlink, stx_uid, stx_gid;
    uint16_t stx_mode, pad0;
    uint64_t stx_ino, stx_size, stx_blocks, stx_attributes_mask;
    struct statx_timestamp stx_atime, stx_btime, stx_ctime, stx_mtime;
    uint32_t stx_rdev_major, stx_rdev_minor, stx_dev_major, stx_dev_minor;
    uint64_t pad1[14];
};

int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *x);
#endif
#endif

int execveat(int dirfd, const char *path, char *const *arguments, char *const *environment,
             int flags); /* glibc's since 2.34 */

#ifndef AT_STATX_DONT_SYNC
#define AT_STATX_DONT_SYNC 0x4000
#endif

/* openat2(2); not every libc's headers come with the kernel's. */
struct open_how {
    uint64_t flags, mode, resolve;
};

#define RESOLVE_BENEATH 0x08
