#include "laid.h"

#include "account.h"
#include "caller.h"
#include "shadow.h"

#include "layer/preload/ask.h"
#include "layer/preload/by_rules.h"
#include "layer/preload/place.h"
#include "layer/preload/program.h"
#include "layer/preload/raw.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/preload/libc.h"

#ifndef PROGRAMS
#define PROGRAMS                                                                                   \
    "/.mirror-run/programs" /* the copies, root's, each under the path that it has in the target */
#endif
#define PROGRAMS_LEN (sizeof(PROGRAMS) - 1)

enum { INTERPRETERS = 4, PIECE = 4096 };

static int refused(int why) {
    errno = why;
    return -1;
}

/* The target's program, if the caller may run it. */
static int opened(const struct place *p, struct statx *s) {
    struct ask open = {.path = p->path, .head = {.op = DOOR_OPEN, .flags = O_RDONLY | O_CLOEXEC}};
    struct ask run = {.path = p->path, .head = {.op = DOOR_ACCESS, .mode = X_OK}};
    if (ask_door(&open) < 0)
        return -1;
    if (raw(SYS_statx, open.fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, s) == 0 &&
        S_ISREG(s->stx_mode) && s->stx_mode & 0111 && ask_door(&run) == 0)
        return open.fd;
    raw(SYS_close, open.fd);
    return refused(EACCES);
}

/* --- the copy ---------------------------------------------------------------------------------------------------------------- */

static bool is_of(const char *copy, const struct statx *s) {
    struct stat own;
    return stat(copy, &own) == 0 && (uint64_t)own.st_size == s->stx_size &&
           own.st_mtim.tv_sec == s->stx_mtime.tv_sec &&
           (uint32_t)own.st_mtim.tv_nsec == s->stx_mtime.tv_nsec;
}

/* Under a name of its own first: one that runs cannot be written to. */
static bool copied(int from, const struct statx *s, const char *copy) {
    char own[PATH_MAX + sizeof ".new"];
    const struct timespec times[2] = {{s->stx_mtime.tv_sec, s->stx_mtime.tv_nsec},
                                      {s->stx_mtime.tv_sec, s->stx_mtime.tv_nsec}};
    size_t n = strlen(copy);
    memcpy(own, copy, n);
    memcpy(own + n, ".new", sizeof ".new");
    int to = open(own, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);
    if (to < 0)
        return false;
    off_t at = 0;
    ssize_t done;
    while ((done = sendfile(to, from, &at, (size_t)1 << 30)) > 0)
        ;
    bool whole = done == 0 && (uint64_t)at == s->stx_size && futimens(to, times) == 0;
    close(to);
    return whole && rename(own, copy) == 0;
}

static bool folder_of(char *path) {
    char *last = strrchr(path, '/');
    *last = '\0';
    bool made = last == path || account_directories(path) == 0;
    *last = '/';
    return made;
}

/* --- its place --------------------------------------------------------------------------------------------------------------- */

/* What lies there already has the same in it. */
static bool same(int from, const char *path) {
    char a[PIECE], b[PIECE];
    int other = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    off_t at = 0;
    ssize_t n = -1;
    while (other >= 0 && (n = pread(from, a, sizeof a, at)) > 0 &&
           pread(other, b, sizeof b, at) == n && memcmp(a, b, (size_t)n) == 0)
        at += n;
    bool end = n == 0 && pread(other, b, 1, at) == 0;
    if (other >= 0)
        close(other);
    return end;
}

static bool laid(int from, const struct statx *s, char *own, char *copy) {
    char text[PATH_MAX];
    ssize_t n = readlink(own, text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    bool ours = strncmp(text, PROGRAMS "/", PROGRAMS_LEN + 1) == 0;
    struct stat there;
    if (!ours && lstat(own, &there) == 0)
        return same(from, own);
    if (!folder_of(copy) || (!is_of(copy, s) && !copied(from, s, copy)))
        return false;
    return ours || (folder_of(own) && symlink(copy, own) == 0);
}

static bool lay(const struct place *p, const char *path, char *interpreter, enum program *kind) {
    char copy[PATH_MAX], head[PROGRAM_HEAD];
    struct place own, plain = *p;
    struct statx s = {0};
    place_plain(&plain);
    if (PROGRAMS_LEN + plain.len >= sizeof copy)
        return refused(ENAMETOOLONG) == 0;
    memcpy(copy, PROGRAMS, PROGRAMS_LEN);
    memcpy(copy + PROGRAMS_LEN, plain.path, plain.len + 1);
    int fd = shadow_own_name(path, &own) ? opened(p, &s) : -1;
    if (fd < 0)
        return false;
    long n = pread(fd, head, sizeof head, 0);
    *kind = program_of(head, n > 0 ? (size_t)n : 0, interpreter);
    caller_as_root();
    bool done = laid(fd, &s, own.path, copy);
    caller_as_caller();
    close(fd);
    return done || refused(EACCES) == 0;
}

/* --- the call ---------------------------------------------------------------------------------------------------------------- */

/* The container has none there, and the target has: as it is for programs that have the layer. */
static bool only_there(const char *path) {
    struct place p, own;
    struct statx s = {0};
    struct ask a = {.head.op = DOOR_STAT, .body = &s, .room = sizeof s};
    if (!shadow_own_name(path, &own) || raw(SYS_faccessat, AT_FDCWD, own.path, F_OK) == 0 ||
        errno != ENOENT || place_find(&p, AT_FDCWD, path, LOOKS) != ROUTE_TARGET)
        return false;
    a.path = p.path;
    return ask_door(&a) == 0;
}

static int run(const char *path, int depth) {
    char interpreter[PROGRAM_SHEBANG];
    enum program kind = PROGRAM_UNKNOWN;
    struct place p;
    enum route route = place_find(&p, AT_FDCWD, path, RUNS);
    if (route == ROUTE_FAILED)
        return -1;
    if (route == ROUTE_OWN && depth == 0 && only_there(path))
        return refused(EACCES);
    if (route != ROUTE_TARGET)
        return 0;
    if (depth > INTERPRETERS)
        return refused(ELOOP);
    if (!lay(&p, path, interpreter, &kind))
        return -1;
    return kind == PROGRAM_SCRIPT ? run(interpreter, depth + 1) : 0;
}

int laid_run(const char *path) {
    if (run(path, 0) == 0)
        place_left();
    return -1;
}
