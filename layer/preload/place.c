#include "place.h"

#include "mapped.h"

#include "raw.h"
#include "upper.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "libc.h"

#ifndef RULES_FILE
#define RULES_FILE "/.mirror-run/rules" /* mirror-init puts it there */
#endif

static struct rules rules;
static atomic_bool active;

void place_begin(void) {
    int before = errno;
    int fd = (int)raw(SYS_openat, AT_FDCWD, RULES_FILE, O_RDONLY | O_CLOEXEC, 0);
    struct statx s = {0}; /* that the kernel writes into it is not seen by an analyser */
    if (fd >= 0 && raw(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &s) == 0 && s.stx_size > 0) {
        size_t len = (size_t)s.stx_size;
        void *octets = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
        if (octets != MAP_FAILED && rules_read(&rules, octets, len))
            atomic_store(&active, true);
    }
    if (fd >= 0)
        raw(SYS_close, fd);
    errno = before;
}

bool place_active(void) {
    return atomic_load_explicit(&active, memory_order_acquire);
}

uint64_t place_mount(void) {
    return rules.mount;
}

/* --- the path ---------------------------------------------------------------------------------------------------------- */

/* Where a relative path begins; false: let the kernel say what is wrong. */
static bool base(struct place *p, int dirfd) {
    if (dirfd == AT_FDCWD) {
        long n = place_cwd(p->path, sizeof p->path, &p->of_target);
        p->len = n > 0 ? (size_t)n - 1 : 0;
        return n > 1 && p->path[0] == '/';
    }
    long n = dirfd < 0 ? -1 : place_descriptor(dirfd, p->path, sizeof p->path, &p->of_target);
    p->len = n > 0 ? (size_t)n : 0;
    return n > 0 && p->path[0] == '/';
}

static bool join(struct place *p, const char *path) {
    size_t n = strlen(path);
    bool slash = p->len && p->path[p->len - 1] != '/';
    if (p->len + slash + n >= sizeof p->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (slash)
        p->path[p->len++] = '/';
    memcpy(p->path + p->len, path, n + 1);
    p->len += n;
    return true;
}

void place_plain(struct place *p) {
    const char *from = p->path;
    size_t to = 0;
    while (*from) {
        size_t part = strcspn(from + 1, "/");
        bool dots = part == 2 && from[1] == '.' && from[2] == '.';
        if (dots)
            while (to > 0 && p->path[--to] != '/')
                ;
        else if (part > 0 && !(part == 1 && from[1] == '.')) {
            memmove(p->path + to, from, part + 1);
            to += part + 1;
        }
        from += part + 1;
    }
    if (to == 0)
        p->path[to++] = '/';
    p->path[to] = '\0';
    p->len = to;
}

/* A path of the app's that is another of the target's: *mapped, and `p` is the other. */
static bool map(struct place *p, bool *mapped) {
    struct place plain = *p;
    place_plain(&plain);
    long n = mapped_path(&rules, plain.path, plain.len, p->path, sizeof p->path);
    if (n < 0) {
        errno = ENAMETOOLONG;
        return false;
    }
    *mapped = n > 0;
    p->len = n > 0 ? (size_t)n : p->len;
    return true;
}

static enum whose __attribute__((noinline)) decide_winding(const struct place *p) {
    bool winding;
    struct place plain = *p;
    place_plain(&plain);
    return rules_decide(&rules, plain.path, plain.len, &winding);
}

static enum whose decide(const struct place *p) {
    bool winding;
    enum whose whose = rules_decide(&rules, p->path, p->len, &winding);
    return winding ? decide_winding(p) : whose;
}

/* Whether a rule of the user's own decides. */
static bool asked_for(const struct place *p) {
    struct place plain = *p;
    place_plain(&plain);
    return rules_asked(&rules, plain.path, plain.len);
}

/* What most calls are about, decided where it stands: an absolute path of the container's. */
static bool at_once(const char *path) {
    bool winding;
    return *path == '/' && !rules.mapping_count && !rules.program_count &&
           rules_decide(&rules, path, strlen(path), &winding) == WHOSE_LOCAL && !winding;
}

static enum route stays(struct place *p, enum intent intent, bool of_target) {
    bool copied = false;
    switch (intent) {
    case LOOKS:
    case SEES:
    case RUNS:
        return upper_has(p) ? ROUTE_HERE : of_target ? ROUTE_OWN : ROUTE_TARGET;
    case CHANGES:
    case REPLACES:
        copied = upper_copy(p, intent == CHANGES);
        break;
    case MAKES:
        copied = upper_make(p);
        break;
    case TAKES:
        copied = upper_take(p);
        break;
    }
    return copied ? ROUTE_HERE : ROUTE_FAILED;
}

/* From a folder of the target's the kernel goes on by itself, which costs nothing: but an absolute symlink on the way would lead
 * it to the root of this container, and so it is asked first whether it stays below. A name alone that is not followed does.
 * What leaves, and what cannot be asked about (before Linux 5.6, or a filter of the app's), is the door's. */
static bool stays_below(int dirfd, const char *path, enum intent intent) {
    bool follows = intent == LOOKS || intent == RUNS || intent == CHANGES || intent == REPLACES;
    if (!follows && !strchr(path, '/') && strcmp(path, "..") != 0)
        return true;
    int before = errno;
    const struct open_how how = {.flags = O_PATH | O_CLOEXEC | (follows ? 0 : O_NOFOLLOW),
                                 .resolve = RESOLVE_BENEATH};
    int fd = place_open(dirfd, path, &how);
    if (fd >= 0)
        raw(SYS_close, fd);
    bool below = fd >= 0 || errno == ENOENT || errno == ENOTDIR || errno == EACCES ||
                 errno == ELOOP || errno == ENAMETOOLONG;
    errno = before;
    return below;
}

static enum route found(struct place *p, bool mapped, enum intent intent) {
    switch (decide(p)) {
    case WHOSE_LOCAL:
        mapped |= p->of_target;
        p->of_target = false;
        return mapped ? ROUTE_HERE : ROUTE_OWN;
    case WHOSE_NOT_FOUND:
        errno = ENOENT;
        return ROUTE_FAILED;
    case WHOSE_WRITE:
        return p->of_target && !mapped ? ROUTE_OWN : ROUTE_TARGET;
    case WHOSE_READ:
        break;
    }
    return stays(p, intent, p->of_target && !mapped);
}

enum route place_find(struct place *p, int dirfd, const char *path, enum intent intent) {
    bool mapped = false;
    p->len = 0;
    p->path[0] = '\0';
    p->of_target = false;
    if (!place_active() || !path || !*path || at_once(path))
        return ROUTE_OWN;
    if (*path != '/' && !base(p, dirfd))
        return ROUTE_OWN;
    if (!join(p, path) || ((rules.mapping_count || rules.program_count) && !map(p, &mapped)))
        return ROUTE_FAILED;
    if (intent == RUNS && !asked_for(p))
        return ROUTE_OWN;
    enum route route = found(p, mapped, intent);
    if (route == ROUTE_OWN && p->of_target && !stays_below(dirfd, path, intent))
        return ROUTE_TARGET;
    return route;
}

enum route place_find_of_two(struct place *p, int dirfd, const char *path, enum intent intent) {
    enum route route = place_find(p, dirfd, path, intent);
    return route == ROUTE_OWN && p->of_target ? ROUTE_TARGET : route;
}
