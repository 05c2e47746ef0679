/* Programs of the target's, run here: only where a rule of the user's own says that the path is the target's. Else the
 * container's own is meant, and where there is none and the target has one, EACCES: as from a file system that is mounted noexec.
 *
 * A program goes to the kernel as a descriptor; its loader and its libraries are the container's. A script's first line is read
 * here and its interpreter is given the path, as the kernel does it, so that $0 is the script's name and not a descriptor's.
 * execl(3) and its kin may be called in a child of vfork(2): nothing is kept, and what grows is on the stack. */
#include "exec.h"

#include "hook.h"
#include "listener.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

extern char **environ;

enum {
    INTERPRETERS = 4,  /* of interpreters, as the kernel's limit is */
    ARGUMENTS = 32768, /* that are copied on the stack */
};

typedef char *const *vector;

/* --- what the target has there ------------------------------------------------------------------------------------------- */

static bool target_has(int dirfd, const char *path) {
    struct place p;
    struct statx s = {0};
    if (place_find(&p, dirfd, path, LOOKS) != ROUTE_TARGET)
        return false;
    struct ask a = {.head.op = DOOR_STAT, .path = p.path, .body = &s, .room = sizeof s};
    return ask_door(&a) == 0;
}

/* After a call that failed on the container's own. */
static int refused(int dirfd, const char *path) {
    int why = errno;
    errno = why == ENOENT && target_has(dirfd, path) ? EACCES : why;
    return -1;
}

int exec_open(const struct place *p, struct exec_script *script) {
    struct ask a = {.head = {.op = DOOR_OPEN, .flags = O_RDONLY | O_CLOEXEC}, .path = p->path};
    struct statx s = {0};
    script->interpreter = script->argument = NULL;
    if (ask_door(&a) < 0)
        return -1;
    if (raw(SYS_statx, a.fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &s) < 0 ||
        !S_ISREG(s.stx_mode) || !(s.stx_mode & 0111)) {
        raw(SYS_close, a.fd);
        errno = EACCES;
        return -1;
    }
    long n = raw(SYS_pread64, a.fd, script->line, sizeof script->line - 1, 0);
    if (n < 3 || script->line[0] != '#' || script->line[1] != '!')
        return a.fd;
    script->line[n] = '\0';
    script->line[strcspn(script->line, "\n")] = '\0';
    char *at = script->line + 2 + strspn(script->line + 2, " \t");
    char *end = at + strcspn(at, " \t");
    char *more = end + strspn(end, " \t");
    for (size_t left = strlen(more); left && strchr(" \t", more[left - 1]); left--)
        more[left - 1] = '\0'; /* all that is left is one argument, as the kernel has it */
    *end = '\0';
    script->interpreter = *at ? at : NULL;
    script->argument = *more ? more : NULL;
    return a.fd;
}

size_t exec_count(vector arguments) {
    size_t n = 0;
    while (arguments && arguments[n])
        n++;
    return n;
}

void exec_script_arguments(const struct exec_script *script, const char *path, vector arguments,
                           const char **out) {
    *out++ = script->interpreter;
    if (script->argument)
        *out++ = script->argument;
    *out++ = path;
    for (size_t i = 1; arguments && arguments[0] && arguments[i]; i++)
        *out++ = arguments[i];
    *out = NULL;
}

/* --- one path -------------------------------------------------------------------------------------------------------------- */

static int run(int dirfd, const char *path, vector arguments, vector environment, int flags,
               int depth);

static int run_of_target(const struct place *p, const char *path, vector arguments,
                         vector environment, int depth) {
    struct exec_script script;
    int fd = exec_open(p, &script);
    if (fd < 0)
        return -1;
    size_t n = exec_count(arguments);
    if (!script.interpreter) {
        listener_before(fd, "", environment);
        raw(SYS_execveat, fd, "", arguments, environment, AT_EMPTY_PATH);
    } else if (depth == INTERPRETERS || n > ARGUMENTS) {
        errno = depth == INTERPRETERS ? ELOOP : E2BIG;
    } else {
        const char **made = __builtin_alloca((n + 4) * sizeof *made);
        exec_script_arguments(&script, path, arguments, made);
        run(AT_FDCWD, script.interpreter, (vector)(uintptr_t)made, environment, 0, depth + 1);
    }
    int why = errno;
    raw(SYS_close, fd);
    errno = why;
    return -1;
}

static int run(int dirfd, const char *path, vector arguments, vector environment, int flags,
               int depth) {
    struct place p;
    switch (place_find(&p, dirfd, path, RUNS)) {
    case ROUTE_OWN:
        listener_before(dirfd, path, environment);
        if (dirfd == AT_FDCWD && !flags)
            raw(SYS_execve, path, arguments, environment);
        else
            raw(SYS_execveat, dirfd, path, arguments, environment, flags);
        return refused(dirfd, path);
    case ROUTE_HERE:
        listener_before(AT_FDCWD, p.path, environment);
        return (int)raw(SYS_execve, p.path, arguments, environment);
    case ROUTE_TARGET:
        return run_of_target(&p, dirfd == AT_FDCWD ? path : p.path, arguments, environment, depth);
    case ROUTE_FAILED:
        break;
    }
    return -1;
}

EXPORT int execve(const char *path, vector arguments, vector environment) {
    return run(AT_FDCWD, path, arguments, environment, 0, 0);
}

EXPORT int execv(const char *path, vector arguments) {
    return execve(path, arguments, environ);
}

EXPORT int execveat(int dirfd, const char *path, vector arguments, vector environment, int flags) {
    return run(dirfd, path, arguments, environment, flags, 0);
}

/* --- a name that is searched for ------------------------------------------------------------------------------------------ */

/* What the kernel cannot run is a script without a first line (execvp(3)). */
static int run_or_read(const char *path, vector arguments, vector environment) {
    execve(path, arguments, environment);
    size_t n = exec_count(arguments);
    if (errno != ENOEXEC || n > ARGUMENTS)
        return -1;
    const struct exec_script shell = {.interpreter = "/bin/sh"};
    const char **made = __builtin_alloca((n + 4) * sizeof *made);
    exec_script_arguments(&shell, path, arguments, made);
    return execve(shell.interpreter, (vector)(uintptr_t)made, environment);
}

bool exec_next(const char **dirs, const char *name, char out[PATH_MAX]) {
    const char *dir = *dirs;
    if (!dir)
        return false;
    size_t n = strcspn(dir, ":"), rest = strlen(name);
    *dirs = dir[n] ? dir + n + 1 : NULL;
    if (n + 1 + rest >= PATH_MAX) {
        out[0] = '\0';
        return true;
    }
    memcpy(out, dir, n);
    out[n] = '/';
    memcpy(out + n + (n > 0), name, rest + 1);
    return true;
}

const char *exec_dirs(void) {
    const char *dirs = getenv("PATH");
    return dirs ? dirs : "/bin:/usr/bin";
}

static bool goes_on(int why) {
    return why == ENOENT || why == ENOTDIR || why == EACCES || why == ESTALE || why == ENODEV ||
           why == ETIMEDOUT;
}

EXPORT int execvpe(const char *name, vector arguments, vector environment) {
    char path[PATH_MAX];
    const char *dirs = exec_dirs();
    bool forbidden = false;
    if (!*name || strchr(name, '/'))
        return run_or_read(name, arguments, environment);
    errno = ENOENT;
    while (exec_next(&dirs, name, path)) {
        run_or_read(path, arguments, environment);
        forbidden |= errno == EACCES;
        if (!goes_on(errno))
            return -1;
    }
    if (forbidden)
        errno = EACCES;
    return -1;
}

EXPORT int execvp(const char *name, vector arguments) {
    return execvpe(name, arguments, environ);
}

/* --- arguments one by one ------------------------------------------------------------------------------------------------- */

/* `made`: the vector; `list`: behind it, for who has more there. */
#define LISTED(made, first, list)                                                                  \
    const char **made;                                                                             \
    va_list list;                                                                                  \
    do {                                                                                           \
        size_t n_ = 1;                                                                             \
        va_start(list, first);                                                                     \
        while (n_ <= ARGUMENTS && va_arg(list, const char *))                                      \
            n_++;                                                                                  \
        va_end(list);                                                                              \
        if (n_ > ARGUMENTS) {                                                                      \
            errno = E2BIG;                                                                         \
            return -1;                                                                             \
        }                                                                                          \
        made = memset(__builtin_alloca((n_ + 1) * sizeof *made), 0, (n_ + 1) * sizeof *made);      \
        made[0] = first;                                                                           \
        va_start(list, first);                                                                     \
        for (size_t i_ = 1; i_ <= n_; i_++) /* the NULL at its end too */                          \
            made[i_] = va_arg(list, const char *);                                                 \
    } while (0)

EXPORT int execl(const char *path, const char *first, ...) {
    LISTED(made, first, list);
    va_end(list);
    return execv(path, (vector)(uintptr_t)made);
}

EXPORT int execlp(const char *name, const char *first, ...) {
    LISTED(made, first, list);
    va_end(list);
    return execvp(name, (vector)(uintptr_t)made);
}

EXPORT int execle(const char *path, const char *first, ...) {
    LISTED(made, first, list);
    vector environment = va_arg(list, vector);
    va_end(list);
    return execve(path, (vector)(uintptr_t)made, environment);
}
