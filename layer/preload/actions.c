/* posix_spawn(3)'s file actions on paths: libc's child opens and enters them by calls of its own, so what is the target's is given to
 * libc as a path below the target's root, `/proc/self/fd/N/...`, with all symbolic links resolved. The child is made by a thread that
 * has a table of descriptors of its own, in which N is that root: nothing is left open here, and nobody else can see it.
 *
 * What a path means is decided when the action is made, and opened when it is carried out. An error that the rules make is told at
 * once, which libc would tell at the spawn. */
#include "actions.h"

#include "by_rules.h"
#include "hook.h"

#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>

#include "libc.h"

enum { ROOT = 964 }; /* below the usual limit, where nothing of a caller's is */

static atomic_bool used;

bool actions_are_used(void) {
    return atomic_load_explicit(&used, memory_order_acquire);
}

static int reach(const char *path, int flags) {
    struct ask a = {.head = {.op = DOOR_OPEN, .flags = (uint32_t)(O_PATH | O_CLOEXEC | flags)},
                    .path = path};
    return ask_door(&a) < 0 ? -1 : a.fd;
}

void actions_prepare(void) {
    int before = errno;
    int root = raw(SYS_unshare, CLONE_FILES) == 0 ? reach("/", O_DIRECTORY) : -1;
    if (root >= 0) {
        raw(SYS_dup3, root, ROOT, O_CLOEXEC);
        raw(SYS_close, root);
    }
    errno = before; /* without it the child finds nothing there: ENOENT */
}

/* --- a path below the root --------------------------------------------------------------------------------------------------- */

struct below {
    char text[2 * PATH_MAX];
    size_t len;
};

static bool append(struct below *b, const char *text, size_t n) {
    if (b->len + n >= sizeof b->text)
        return false;
    memcpy(b->text + b->len, text, n);
    b->len += n;
    b->text[b->len] = '\0';
    return true;
}

/* The name that the kernel gives to what a descriptor, which is closed, is of. */
static bool append_name(struct below *b, int fd) {
    char name[PATH_MAX];
    struct fd_name link = fd_name(fd);
    ssize_t n = raw(SYS_readlinkat, AT_FDCWD, link.text, name, sizeof name);
    raw(SYS_close, fd);
    n = n > 0 ? link_plain(name, n) : n;
    return n > 0 && append(b, name, (size_t)n);
}

/* What is to be made: its folder, and its name. */
static bool append_new(struct below *b, const struct place *p) {
    struct place folder = *p;
    char *last = strrchr(folder.path, '/');
    const char *name = p->path + (last - folder.path);
    last[last == folder.path] = '\0';
    int fd = reach(folder.path, O_DIRECTORY);
    return fd >= 0 && append_name(b, fd) && append(b, name, strlen(name));
}

static const char *below(struct below *b, const struct place *p, int flags) {
    struct fd_name root = fd_name(ROOT);
    int before = errno, fd = reach(p->path, flags & (O_NOFOLLOW | O_DIRECTORY));
    b->len = 0;
    append(b, root.text, strlen(root.text));
    size_t begin = b->len;
    if (!(fd >= 0 ? append_name(b, fd) : flags & O_CREAT && append_new(b, p))) {
        b->len = begin;
        append(b, p->path, p->len); /* there the child is told what is wrong */
    }
    errno = before;
    atomic_store_explicit(&used, true, memory_order_release);
    return b->text;
}

/* Where `*path` leads, as libc's child is to be told of it: 0, or an errno, which these calls return and do not set. */
static int told(struct below *b, const struct place *p, enum route route, int flags, int before,
                const char *restrict *path) {
    int why = errno;
    if (route == ROUTE_FAILED) {
        errno = before;
        return why;
    }
    if (route == ROUTE_HERE)
        *path = p->path;
    if (route == ROUTE_TARGET)
        *path = below(b, p, flags);
    return 0;
}

/* --- libc's names ------------------------------------------------------------------------------------------------------------ */

EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *restrict all, int fd,
                                            const char *restrict path, int flags, mode_t mode) {
    struct place p;
    struct below b;
    int before = errno;
    int why = told(&b, &p, open_find(&p, AT_FDCWD, path, flags), flags, before, &path);
    return why ? why : REAL(posix_spawn_file_actions_addopen)(all, fd, path, flags, mode);
}

EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *restrict all,
                                                const char *restrict path);
EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *restrict all,
                                                const char *restrict path) {
    struct place p;
    struct below b;
    int before = errno;
    int why = told(&b, &p, place_find(&p, AT_FDCWD, path, LOOKS), O_DIRECTORY, before, &path);
    return why ? why : REAL(posix_spawn_file_actions_addchdir_np)(all, path);
}
