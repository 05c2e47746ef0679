#include "thread.h"

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT         (100 * 1000)      /* ns: the least there is */
#define USUAL         (3 * 1000 * 1000) /* ns: about what the kernel gives by itself */
#define GIVES_WAY     5 /* nice(2): a third of what others have, while they want it */
#define RESET_ON_FORK 1

int thread_start(pthread_t *thread, size_t stack, bool detached, void *(*run)(void *), void *arg) {
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, stack);
    if (detached)
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(thread, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err;
}

struct attributes { /* of sched_setattr(2), as first published: glibc has it from 2.41 on */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};

static void set_turns(uint64_t ns, int nice) {
    struct attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != 0 /* SCHED_OTHER */)
        return;
    a.runtime = ns;
    a.nice = a.nice > nice ? a.nice : nice;
    a.flags |= RESET_ON_FORK;
    syscall(SYS_sched_setattr, 0, &a, 0);
}

void thread_short_turns(void) {
    set_turns(SHORT, -20);
}

void thread_gives_way(void) {
    set_turns(USUAL, GIVES_WAY);
}
