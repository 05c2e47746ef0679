#include "upper.h"

#include "ask.h"
#include "raw.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

#ifndef UPPER
#define UPPER "/.mirror-run/upper"
#endif
#define UPPER_LEN (sizeof(UPPER) - 1)

static bool there(const char *path) {
    struct statx s = {0};
    return raw(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, 0, &s) == 0;
}

/* Of the path without `.` and `..`: the copies stand under what a path is called. */
static bool name(const struct place *p, struct place *up) {
    struct place plain = *p;
    place_plain(&plain);
    if (plain.len + UPPER_LEN >= sizeof up->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(up->path, UPPER, UPPER_LEN);
    memcpy(up->path + UPPER_LEN, plain.path, plain.len + 1);
    up->len = UPPER_LEN + plain.len;
    return true;
}

bool upper_has(struct place *p) {
    struct place up;
    int before = errno;
    bool found = name(p, &up) && there(up.path);
    errno = before;
    if (found)
        *p = up;
    return found;
}

/* The folders above, of the same names; what is there already is no fault. */
static bool folders(struct place *up) {
    for (char *slash = up->path + UPPER_LEN + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        bool made = raw(SYS_mkdirat, AT_FDCWD, up->path, 0777) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return true;
}

static bool folder_of_target(const struct place *p) {
    struct place above = *p;
    place_plain(&above);
    char *slash = strrchr(above.path, '/');
    above.len = slash == above.path ? 1 : (size_t)(slash - above.path);
    above.path[above.len] = '\0';
    if (upper_has(&above))
        return true;
    struct statx s = {0};
    struct ask a = {.head.op = DOOR_STAT, .path = above.path, .body = &s, .room = sizeof s};
    if (ask_door(&a) < 0)
        return false;
    if (S_ISDIR(s.stx_mode))
        return true;
    errno = ENOTDIR;
    return false;
}

static bool target_has(const struct place *p) {
    struct statx s = {0};
    struct ask a = {.head = {.op = DOOR_STAT, .flags = DOOR_NOFOLLOW},
                    .path = p->path,
                    .body = &s,
                    .room = sizeof s};
    return ask_door(&a) == 0;
}

static bool poured(int from, int to) {
    long n;
    while ((n = raw(SYS_sendfile, to, from, NULL, (size_t)1 << 30)) > 0 ||
           (n < 0 && errno == EINTR))
        ;
    return n == 0;
}

/* Under a name of its own first, so that nobody sees half of it; who was quicker has made the same. */
static bool placed(int from, mode_t mode, bool body, struct place *up) {
    char own[PATH_MAX + 32];
    size_t at = up->len;
    memcpy(own, up->path, at);
    own[at++] = '.';
    for (unsigned long rest = (unsigned long)raw(SYS_gettid); rest; rest /= 10)
        own[at++] = (char)('0' + rest % 10);
    own[at] = '\0';
    int to = (int)raw(SYS_openat, AT_FDCWD, own, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return false;
    bool done = (!body || poured(from, to)) && raw(SYS_fchmod, to, mode & 07777) == 0;
    raw(SYS_close, to);
    done = done && (raw(SYS_linkat, AT_FDCWD, own, AT_FDCWD, up->path, 0) == 0 || errno == EEXIST);
    int why = errno;
    raw(SYS_unlinkat, AT_FDCWD, own, 0);
    errno = why;
    return done;
}

bool upper_copy(struct place *p, bool body) {
    if (upper_has(p))
        return true;
    struct place up;
    struct statx s = {0};
    struct ask a = {.head = {.op = DOOR_OPEN, .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK},
                    .path = p->path};
    if (!name(p, &up) || ask_door(&a) < 0)
        return false;
    bool done = raw(SYS_statx, a.fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) == 0;
    if (done && !S_ISREG(s.stx_mode)) {
        errno = S_ISDIR(s.stx_mode) ? EISDIR : EROFS;
        done = false;
    }
    done = done && folders(&up) && placed(a.fd, s.stx_mode, body, &up);
    int why = errno;
    raw(SYS_close, a.fd);
    errno = why;
    if (done)
        *p = up;
    return done;
}

bool upper_make(struct place *p) {
    struct place up;
    if (upper_has(p))
        return true; /* the call itself says EEXIST */
    if (target_has(p)) {
        errno = EEXIST;
        return false;
    }
    if (!name(p, &up) || !folder_of_target(p) || !folders(&up))
        return false;
    *p = up;
    return true;
}

bool upper_take(struct place *p) {
    if (upper_has(p))
        return true;
    if (target_has(p))
        errno = EROFS;
    return false;
}
