/* What a place depends on in the process whose call it is: here, this one. */
#include "place.h"

#include "by_rules.h"
#include "raw.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "libc.h"

__attribute__((constructor(101))) static void begin(void) {
    place_begin();
}

static bool of_target_s(int fd) {
    struct statx s = {0};
    return raw(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &s) == 0 &&
           makedev(s.stx_dev_major, s.stx_dev_minor) == place_mount();
}

long place_descriptor(int fd, char *out, size_t size, bool *of_target) {
    struct fd_name link = fd_name(fd);
    int before = errno;
    long n = raw(SYS_readlinkat, AT_FDCWD, link.text, out, size - 1);
    *of_target = n > 0 && of_target_s(fd);
    errno = before;
    return n;
}

int place_open(int dirfd, const char *path, const struct open_how *how) {
    return (int)raw(CALL_OPENAT2, dirfd, path, how, sizeof *how);
}

/* It can only be read by setting it. */
mode_t place_mask(void) {
    mode_t now = (mode_t)raw(SYS_umask, 0);
    raw(SYS_umask, now);
    return now;
}
