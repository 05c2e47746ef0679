#include "thread.h"

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SHORT         (100 * 1000) /* ns: the least there is */
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

void thread_short_turns(void) {
    struct attributes a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) < 0 || a.policy != 0 /* SCHED_OTHER */)
        return;
    a.runtime = SHORT;
    a.flags |= RESET_ON_FORK;
    syscall(SYS_sched_setattr, 0, &a, 0);
}
