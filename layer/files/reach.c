#include "layer/files/reach.h"

#include "layer/files/door_words.h"
#include "layer/files/filesystem.h"
#include "layer/files/listings.h"
#include "layer/files/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { TRIES = 64 };

/* EAGAIN, if it was not asked for: something was renamed while ".." was resolved, and the kernel cannot say that it stayed
 * inside (openat2(2)). A target that renames all the time gets as many tries and no more. */
int reach_by(int mount, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .mode = mode,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve};
    int fd = -EAGAIN;
    for (int tries = 0; fd == -EAGAIN && tries < (resolve & RESOLVE_CACHED ? 1 : TRIES); tries++) {
        fd = (int)syscall(SYS_openat2, mount, path, &how, sizeof how);
        if (fd < 0)
            fd = -errno;
    }
    return fd;
}

int reach(struct filesystem *fs, int mount, const char *path, int flags) {
    int fd = reach_by(mount, path, (uint64_t)(O_PATH | flags), 0, RESOLVE_CACHED);
    if (fd != -EAGAIN) {
        listings_known(filesystem_listings(fs), path);
        return fd;
    }
    uint64_t walk = walk_ahead(fs, path, false, 0, flags & O_NOFOLLOW);
    fd = reach_by(mount, path, (uint64_t)(O_PATH | flags), 0, 0);
    walk_over(fs, walk);
    if (fd >= 0)
        listings_missed(filesystem_listings(fs), path);
    return fd;
}

int reach_parent(struct filesystem *fs, int mount, const char *path, char *name) {
    char folder[DOOR_PATH + 1];
    size_t n = strlen(path), end = n;
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    memcpy(name, path + start,
           n - start); /* with the slashes at its end, which say that it is a folder */
    name[n - start] = '\0';
    if (start == end)
        memcpy(name, ".", 2);
    memcpy(folder, path, start);
    folder[start] = '\0';
    return reach(fs, mount, start ? folder : "/", O_DIRECTORY);
}
