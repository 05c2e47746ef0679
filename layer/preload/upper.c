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

enum { NO_REPLACE = 1 }; /* renameat2(2): RENAME_NOREPLACE, which not every libc has */

/* The mark of a folder that is there because copies lie below it: no copy itself, so what it is called is still the target's.
 * The bit means nothing to a kernel, and mkdir(2) does not set it. */
#define ON_THE_WAY S_ISUID

static bool there(const struct place *up) {
    struct statx s = {0};
    if (up->len <= UPPER_LEN + 1 ||
        raw(SYS_statx, AT_FDCWD, up->path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC,
            STATX_BASIC_STATS, &s) < 0)
        return false;
    return !S_ISDIR(s.stx_mode) || !(s.stx_mode & ON_THE_WAY);
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
    bool found = name(p, &up) && there(&up);
    errno = before;
    if (found)
        *p = up;
    return found;
}

int upper_folder(const struct place *p) {
    struct place up;
    int before = errno;
    int fd = name(p, &up)
                 ? (int)raw(SYS_openat, AT_FDCWD, up.path,
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0)
                 : -1;
    errno = before;
    return fd;
}

#define MAKING UPPER "/.making."

/* Of this thread's number, where nobody lists it. */
static void own_name(char own[sizeof MAKING + 24]) {
    size_t len = sizeof MAKING - 1;
    memcpy(own, MAKING, len);
    for (unsigned long rest = (unsigned long)raw(SYS_gettid); rest; rest /= 10)
        own[len++] = (char)('0' + rest % 10);
    own[len] = '\0';
}

/* Under a name of its own first, so that nobody sees it without its mark; who was quicker has made the same. */
static bool folder(const char *path) {
    char own[sizeof MAKING + 24];
    if (raw(SYS_faccessat, AT_FDCWD, path, F_OK) == 0)
        return true;
    own_name(own);
    raw(SYS_unlinkat, AT_FDCWD, own, AT_REMOVEDIR); /* of one that was killed */
    if (raw(SYS_mkdirat, AT_FDCWD, own, 0777) < 0)
        return false;
    struct statx s = {0};
    raw(SYS_statx, AT_FDCWD, own, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &s);
    bool made = raw(SYS_fchmodat, AT_FDCWD, own, (s.stx_mode & 0777) | ON_THE_WAY) == 0 &&
                raw(SYS_renameat2, AT_FDCWD, own, AT_FDCWD, path, NO_REPLACE) == 0;
    if (made)
        return true;
    int why = errno;
    raw(SYS_unlinkat, AT_FDCWD, own, AT_REMOVEDIR);
    errno = why;
    return why == EEXIST;
}

/* The folders above, of the same names. */
static bool folders(struct place *up) {
    for (char *slash = up->path + UPPER_LEN + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        bool made = folder(up->path);
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

/* What the target has there, a symlink itself; 0: nothing, and errno. */
static mode_t target_mode(const struct place *p) {
    struct statx s = {0};
    struct ask a = {.head = {.op = DOOR_STAT, .flags = DOOR_NOFOLLOW},
                    .path = p->path,
                    .body = &s,
                    .room = sizeof s};
    return ask_door(&a) == 0 ? s.stx_mode : 0;
}

static bool target_has(const struct place *p) {
    return target_mode(p) != 0;
}

bool upper_is_socket(const struct place *p) {
    int before = errno;
    bool is = S_ISSOCK(target_mode(p));
    errno = before;
    return is;
}

bool upper_hide(struct place *p) {
    struct place up;
    if (!name(p, &up) || !folder_of_target(p) || !folders(&up))
        return false;
    *p = up;
    return true;
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
    char own[sizeof MAKING + 24];
    own_name(own);
    raw(SYS_unlinkat, AT_FDCWD, own, 0); /* of one that was killed */
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
    if (upper_has(p))
        return true; /* the call itself says EEXIST */
    if (target_has(p)) {
        errno = EEXIST;
        return false;
    }
    return upper_hide(p);
}

bool upper_take(struct place *p) {
    if (upper_has(p))
        return true;
    if (target_has(p))
        errno = EROFS;
    return false;
}
