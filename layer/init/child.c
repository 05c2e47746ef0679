/* Everything between fork and exec, in an order that matters: directory and terminal while still root, then the user. */
#include "child.h"

#include "account.h"

#include "layer/preload/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void fail(int code, const char *what, const char *object) __attribute__((noreturn));
static void fail(int code, const char *what, const char *object) {
    fprintf(stderr, "mirror-run: %s %s: %s\n", what, object, strerror(errno));
    _exit(code);
}

/* Own group, so that what the command sends to its group does not come back to us to be forwarded; the terminal's foreground,
 * so that Ctrl-C is the command's. SIGTTOU is blocked still: without that a background group's tcsetpgrp stops it. */
static void take_terminal(void) {
    setpgid(0, 0);
    if (isatty(STDIN_FILENO))
        tcsetpgrp(STDIN_FILENO, getpid());
}

/* By the system call itself: libc keeps 32 to 34 to itself, but whoever started us may have left even those ignored, and an
 * ignored signal stays ignored across exec (sigaction(2)). What the kernel reads is its own struct, all zero: SIG_DFL. */
static void reset_signals(void) {
    const struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        uint64_t mask;
    } plain = {0};
    for (int n = 1; n < NSIG; n++)
        syscall(SYS_rt_sigaction, n, &plain, NULL,
                sizeof plain.mask); /* EINVAL for SIGKILL and SIGSTOP */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* As docker's --workdir: made if it is not there. 0, or -1 with errno. */
static int enter_directory(const char *cwd) {
    if (chdir(cwd) == 0)
        return 0;
    return errno == ENOENT && account_directories(cwd) == 0 ? chdir(cwd) : -1;
}

static void become(const struct start *s) {
    if (setgroups(s->group_count, s->groups) != 0 || setgid(s->gid) != 0 || setuid(s->uid) != 0)
        fail(EXIT_OURS, "become the user", s->name);
}

/* Before what execvp(3) is going to find: the first of PATH's that may be executed. */
static void prepare(const char *name) {
    const char *dirs = getenv("PATH");
    char path[PATH_MAX];
    if (strchr(name, '/') != NULL) {
        listener_before(AT_FDCWD, name, environ);
        return;
    }
    for (const char *dir = dirs != NULL ? dirs : "/usr/local/bin:/bin:/usr/bin"; dir != NULL;) {
        int n = (int)strcspn(dir, ":");
        bool fits =
            snprintf(path, sizeof path, "%.*s%s%s", n, dir, n > 0 ? "/" : "", name) < PATH_MAX;
        if (fits && access(path, X_OK) == 0) {
            listener_before(AT_FDCWD, path, environ);
            return;
        }
        dir = dir[n] == ':' ? dir + n + 1 : NULL;
    }
}

static void execute(const struct start *s) __attribute__((noreturn));
static void execute(const struct start *s) {
    prepare(s->argv[0]);
    execvp(s->argv[0], s->argv);
    if (errno != ENOENT && errno != ENOTDIR)
        fail(EXIT_CANNOT, "cannot execute", s->argv[0]);
    /* The file may be there and its interpreter not: another libc's loader, or a script's first line. */
    if (strchr(s->argv[0], '/') != NULL && access(s->argv[0], F_OK) == 0)
        fail(EXIT_NOT_FOUND, "its interpreter is not in the image:", s->argv[0]);
    fprintf(stderr, "mirror-run: %s: command not found in the image\n", s->argv[0]);
    _exit(EXIT_NOT_FOUND);
}

pid_t child_start(const struct start *s, char **environment, struct fault *f) {
    pid_t pid = fork();
    if (pid < 0)
        return fault_set(f, errno, "start a process");
    if (pid != 0)
        return pid;
    take_terminal();
    bool entered = enter_directory(s->cwd) == 0;
    become(s);
    if (!entered && chdir(s->cwd) != 0) /* a directory that only the user may enter (NFS, FUSE) */
        fail(EXIT_CANNOT, "cannot enter the directory", s->cwd);
    environ = environment; /* PATH is the command's, not ours */
    reset_signals();
    execute(s);
}
