/* posix_spawn(3), whose libc runs a program by a call of its own: what is the target's is given to it as a descriptor's name. */
#include "actions.h"
#include "exec.h"
#include "hook.h"
#include "listener.h"

#include <pthread.h>
#include <spawn.h>
#include <stdbool.h>
#include <string.h>

#include "libc.h"

enum {
    ARGUMENTS = 32768,
    HIGH = 500, /* where no file action of the caller's is likely to close or cover it */
};

/* Where nothing of the caller's file actions is about. */
static int high(int fd) {
    int moved = (int)raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, HIGH);
    if (moved < 0)
        return fd;
    raw(SYS_close, fd);
    return moved;
}

/* --- the child has the filter, and the descriptors, of the thread that starts it: where it needs some, that is one of its own - */

typedef int spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                  const posix_spawnattr_t *how, char *const *arguments, char *const *environment);

struct beside {
    spawn *spawn;
    pid_t *pid;
    const char *path, *program;
    const posix_spawn_file_actions_t *actions;
    const posix_spawnattr_t *how;
    char *const *arguments, *const *environment;
    int error;
};

static void *run_beside(void *arg) {
    struct beside *b = arg;
    if (actions_are_used())
        actions_prepare();
    listener_before(AT_FDCWD, b->program, b->environment);
    b->error = b->spawn(b->pid, b->path, b->actions, b->how, b->arguments, b->environment);
    return NULL;
}

/* Called as `spawn` is; `program` is where its `path` leads. A thread that cannot be had is a program without a listener. */
static int spawned(spawn *real, pid_t *pid, const char *path, const char *program,
                   const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                   char *const *arguments, char *const *environment) {
    struct beside b = {real, pid, path, program, actions, how, arguments, environment, 0};
    pthread_t thread;
    bool wanted = place_active() && ((actions && actions_are_used()) ||
                                     listener_wanted(AT_FDCWD, program, environment));
    __typeof__(&pthread_create) create = wanted ? real_symbol("pthread_create") : NULL;
    __typeof__(&pthread_join) join = wanted ? real_symbol("pthread_join") : NULL;
    if (!create || !join || create(&thread, NULL, run_beside, &b) != 0)
        return real(pid, path, actions, how, arguments, environment);
    join(thread, NULL);
    return b.error;
}

/* --- posix_spawn(3): an error is returned -------------------------------------------------------------------------------------- */

static int spawn_of_target(pid_t *pid, const struct place *p, const char *path,
                           const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *how,
                           char *const *arguments, char *const *environment) {
    struct exec_script script;
    int before = errno, error;
    int fd = exec_open(p, &script);
    size_t n = exec_count(arguments);
    if (fd < 0) {
        error = errno;
    } else if (!script.interpreter) {
        fd = high(fd);
        struct fd_name name = fd_name(fd);
        error = spawned(REAL(posix_spawn), pid, name.text, name.text, actions, how, arguments,
                        environment);
    } else if (n > ARGUMENTS) {
        error = E2BIG;
    } else {
        const char **made = __builtin_alloca((n + 4) * sizeof *made);
        exec_script_arguments(&script, path, arguments, made);
        error = posix_spawn(pid, script.interpreter, actions, how, (char *const *)(uintptr_t)made,
                            environment);
    }
    if (fd >= 0)
        raw(SYS_close, fd);
    errno = before;
    return error;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *how, char *const *arguments,
                       char *const *environment) {
    struct place p;
    switch (place_find(&p, AT_FDCWD, path, RUNS)) {
    case ROUTE_OWN:
        break;
    case ROUTE_HERE:
        return spawned(REAL(posix_spawn), pid, p.path, p.path, actions, how, arguments,
                       environment);
    case ROUTE_TARGET:
        return spawn_of_target(pid, &p, path, actions, how, arguments, environment);
    case ROUTE_FAILED:
        return errno;
    }
    return spawned(REAL(posix_spawn), pid, path, path, actions, how, arguments, environment);
}

/* What is not the target's is libc's to search for. */
EXPORT int posix_spawnp(pid_t *pid, const char *name, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *how, char *const *arguments,
                        char *const *environment) {
    char path[PATH_MAX];
    struct place p;
    const char *dirs = exec_dirs();
    if (strchr(name, '/'))
        return posix_spawn(pid, name, actions, how, arguments, environment);
    bool forbidden = false;
    path[0] = '\0';
    while (place_active() && exec_next(&dirs, name, path)) {
        int before = errno;
        bool there = access(path, X_OK) == 0;
        forbidden |= !there && errno == EACCES;
        errno = before;
        if (there && place_find(&p, AT_FDCWD, path, RUNS) == ROUTE_TARGET)
            return spawn_of_target(pid, &p, path, actions, how, arguments, environment);
        if (there)
            break;
    }
    int error = spawned(REAL(posix_spawnp), pid, name, path, actions, how, arguments, environment);
    return error == ENOENT && forbidden ? EACCES : error;
}
