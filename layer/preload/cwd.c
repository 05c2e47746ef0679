/* The working directory, which may be one of the target's: then it lies in no tree of this container, and what the kernel says
 * of it carries a remark that makes libc's getcwd(3) fail. */
#include "hook.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "libc.h"

static int moved(long done) {
    if (done == 0)
        place_moved();
    return (int)done;
}

static int chdir_at_door(const struct place *p) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_OPEN;
    a.head.flags = O_PATH | O_DIRECTORY | O_CLOEXEC;
    if (ask_door(&a) < 0)
        return -1;
    long done = raw(SYS_fchdir, a.fd);
    int why = errno;
    raw(SYS_close, a.fd);
    errno = why;
    return moved(done);
}

EXPORT int chdir(const char *path) {
    struct place p;
    ROUTED(p, AT_FDCWD, path, LOOKS, moved(raw(SYS_chdir, path)), moved(raw(SYS_chdir, p.path)),
           chdir_at_door(&p));
}

EXPORT int fchdir(int fd) {
    return moved(raw(SYS_fchdir, fd));
}

/* getcwd(3) with a buffer; false: errno. */
static bool into(char *out, size_t size) {
    bool of_target;
    long n = place_cwd(out, size, &of_target);
    if (n > 0 && out[0] == '/')
        return true;
    if (n > 0)
        errno = ENOENT; /* outside the root, as libc says it */
    return false;
}

EXPORT char *getcwd(char *out, size_t size) {
    if (!place_active())
        return REAL(getcwd)(out, size);
    char text[PATH_MAX];
    if (out && size == 0) {
        errno = EINVAL;
        return NULL;
    }
    if (out)
        return into(out, size) ? out : NULL;
    if (!into(text, size ? (size < sizeof text ? size : sizeof text) : sizeof text))
        return NULL;
    char *made = malloc(size ? size : strlen(text) + 1);
    return made ? memcpy(made, text, strlen(text) + 1) : NULL;
}

EXPORT char *__getcwd_chk(char *out, size_t size, size_t room);
EXPORT char *__getcwd_chk(char *out, size_t size, size_t room) {
    if (size > room)
        abort();
    return getcwd(out, size);
}

EXPORT char *getwd(char *out) {
    return getcwd(out, PATH_MAX);
}

EXPORT char *__getwd_chk(char *out, size_t room);
EXPORT char *__getwd_chk(char *out, size_t room) {
    return getcwd(out, room < PATH_MAX ? room : PATH_MAX);
}

/* $PWD where it is true, so that symbolic links keep their names; libc's own looks at both. */
EXPORT char *get_current_dir_name(void) {
    char text[PATH_MAX];
    bool of_target = false;
    if (!place_active() || place_cwd(text, sizeof text, &of_target) <= 0 || !of_target)
        return REAL(get_current_dir_name)();
    return strdup(text);
}
