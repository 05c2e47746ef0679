/* realpath(3) and its kin: the path that is left when all symbolic links have been followed is the kernel's own text for what was
 * opened. */
#include "hook.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libc.h"

/* False: errno. `text` has PATH_MAX octets. */
static bool name_of(int fd, char *text) {
    struct fd_name link = fd_name(fd);
    ssize_t len = raw(SYS_readlinkat, AT_FDCWD, link.text, text, PATH_MAX - 1);
    if (len < 0)
        return false;
    text[link_plain(text, len)] = '\0';
    return true;
}

static char *given(const char *text, char *resolved) {
    if (!resolved)
        return strdup(text);
    return memcpy(resolved, text, strlen(text) + 1);
}

/* What /proc says of a directory or a descriptor may be the target's. */
static int opened_in_proc(const char *path) {
    char text[PATH_MAX];
    bool of_target = false;
    int before = errno, fd = (int)raw(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd >= 0 && place_descriptor(fd, text, sizeof text, &of_target) > 0 && of_target)
        return fd;
    if (fd >= 0)
        raw(SYS_close, fd);
    errno = before;
    return OPEN_NOT_OURS;
}

/* A relative path below a directory of the target's is the kernel's to find, and not libc's: that looks for names. */
static int opened(const char *path) {
    char text[PATH_MAX];
    bool of_target = false;
    int fd = open_of_target(path, O_PATH | O_CLOEXEC, 0);
    if (fd == OPEN_NOT_OURS && path && strncmp(path, "/proc/", 6) == 0 && place_active())
        return opened_in_proc(path);
    if (fd == OPEN_NOT_OURS && path && *path && *path != '/' && place_active() &&
        place_cwd(text, sizeof text, &of_target) > 0 && of_target)
        fd = (int)raw(SYS_openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    return fd;
}

EXPORT char *realpath(const char *path, char *resolved) {
    int fd = opened(path);
    if (fd == OPEN_NOT_OURS)
        return REAL(realpath)(path, resolved);
    char text[PATH_MAX];
    if (fd < 0)
        return NULL;
    bool known = name_of(fd, text);
    int why = errno;
    raw(SYS_close, fd);
    errno = why;
    return known ? given(text, resolved) : NULL;
}

EXPORT char *__realpath_chk(const char *path, char *resolved, size_t size);
EXPORT char *__realpath_chk(const char *path, char *resolved, size_t size) {
    if (resolved && size < PATH_MAX)
        abort();
    return realpath(path, resolved);
}

EXPORT char *canonicalize_file_name(const char *path) {
    return realpath(path, NULL);
}
