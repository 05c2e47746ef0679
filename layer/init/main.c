/* mirror-init, the app container's first process: asks the bridge's door what to run, runs it as the user, forwards signals,
 * reaps, and ends everything when the door's connection ends, because then the session has.
 *
 * Signals go to the command alone, as docker's own init does it: a terminal's go to its foreground group by the kernel, and a
 * shell that gets SIGTERM is the one to say what becomes of its children. All signals stay blocked here and are read from a
 * signalfd, so nothing interrupts anything. It is uid 0 without need of any capability but those that docker gives.
 */
#include "account.h"
#include "child.h"
#include "door.h"
#include "environment.h"
#include "layer.h"
#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 5000, GRACE_MS = 2000, EXIT_KILLED = 137 };

static int say(const struct fault *f) {
    fprintf(stderr, "mirror-run: %s\n", f->text);
    return EXIT_OURS;
}

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ctrl-Z: nobody is here to say fg, so the command goes on, as it would if it were the first process itself. */
static void keep_going(pid_t command, int status) {
    int number = WSTOPSIG(status);
    if (number == SIGTSTP || number == SIGTTIN || number == SIGTTOU)
        kill(-command, SIGCONT);
}

/* Reaps all that have ended. The command's exit code once it is among them, else -1; *left tells whether any child is. */
static int reap(pid_t command, bool *left) {
    int status, code = -1;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (pid != command)
            continue;
        if (WIFSTOPPED(status))
            keep_going(command, status);
        else
            code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    }
    *left = pid == 0;
    return code;
}

static bool forwarded(uint32_t number) {
    return number != SIGCHLD && number != SIGTTIN &&
           number != SIGTTOU; /* ours; and a background group's, by the terminal */
}

/* The next signal, or 0 after `timeout_ms` (-1: none) or when `door` (-1: not watched) has ended, which *ended tells. */
static uint32_t next_signal(int signals, int door, int timeout_ms, bool *ended) {
    struct pollfd p[2] = {{.fd = signals, .events = POLLIN}, {.fd = door, .events = POLLIN}};
    struct signalfd_siginfo info;
    *ended = false;
    if (poll(p, 2, timeout_ms) <= 0)
        return 0;
    if (p[0].revents & POLLIN && read(signals, &info, sizeof info) == (ssize_t)sizeof info)
        return info.ssi_signo;
    char rest[64]; /* nothing is said after Start; a later version's words are read and let go */
    *ended = p[1].revents != 0 && read(door, rest, sizeof rest) <= 0;
    return 0;
}

/* The session is over: SIGTERM to all, two seconds, and what is left goes with us, as a pid namespace does with its first. */
static int end_all(int signals, pid_t command) {
    long deadline = now_ms() + GRACE_MS;
    bool left = true, ended;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT); /* a stopped process takes no SIGTERM */
    for (long wait = GRACE_MS; left && wait > 0; wait = deadline - now_ms()) {
        next_signal(signals, -1, (int)wait, &ended);
        reap(command, &left);
    }
    kill(-1, SIGKILL);
    return EXIT_KILLED;
}

static int attend(int signals, int door, pid_t command) {
    for (;;) {
        bool ended, left;
        uint32_t number = next_signal(signals, door, -1, &ended);
        if (ended) {
            fputs("mirror-run: the session has ended, and the command with it\n", stderr);
            return end_all(signals, command);
        }
        if (number == SIGCHLD) {
            int code = reap(command, &left);
            if (code >= 0)
                return code;
        } else if (number != 0 && forwarded(number)) {
            kill(command, (int)number);
        }
    }
}

static int prepare(const struct start *s, char ***environment, struct fault *f) {
    if (s->name[0] != '\0' && account_enter("", s->name, s->uid, s->gid, s->home, f) != 0)
        return -1;
    char *home[] = {NULL, NULL};
    if (s->home[0] != '\0') {
        if (account_home(s->home, s->uid, s->gid, f) != 0)
            return -1;
        if (asprintf(&home[0], "HOME=%s", s->home) < 0)
            return fault_set(f, ENOMEM, "set HOME");
    }
    char **given = environment_merged(s->environ, home);
    *environment = given == NULL ? NULL : environment_merged(environ, given);
    if (s->rules_len != 0 && *environment != NULL) {
        if (layer_install(s, f) != 0)
            return -1;
        *environment = layer_environment(*environment);
    }
    return *environment == NULL ? fault_set(f, ENOMEM, "make the environment") : 0;
}

/* Where listeners of programs without a layer are taken; -1: nobody needs it, or nobody can, which is said. */
static int take_listeners(const struct start *s) {
    struct fault fault;
    if (s->rules_len == 0)
        return -1;
    int listening = supervisor_possible(&fault) == 0 ? supervisor_listen(&fault) : -1;
    if (listening < 0)
        fprintf(stderr, "mirror-run: static programs see only the container's own files: %s\n",
                fault.text);
    return listening;
}

int main(void) {
    struct start start;
    struct fault fault;
    char **environment = NULL;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0) {
        fault_set(&fault, errno, "listen for signals");
        return say(&fault);
    }
    int door = door_ask(PATIENCE_MS, &start, &fault);
    if (door < 0 || prepare(&start, &environment, &fault) != 0)
        return say(&fault);
    int listening = take_listeners(&start);
    pid_t command = child_start(&start, environment, &fault);
    if (command < 0 || (listening >= 0 && supervisor_start(listening, &start, &fault) != 0))
        return say(&fault);
    return attend(signals, door, command);
}
