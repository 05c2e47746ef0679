/* A target's files, as the engine has them: none, until Python has said whose they are and what may be done. */
#include "agent/engine_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void place_files_end(struct engine *e, struct place *p) {
    files_leave(e->files, p, ENETDOWN);
    if (p->files.pidfd >= 0)
        close(p->files.pidfd);
    p->files.pidfd = -1;
}

static void target_files(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s)
        return;
    struct place *p = place_find(s, c->target);
    int pidfd = p ? fcntl(c->files->pidfd, F_DUPFD_CLOEXEC, 0) : -1;
    if (pidfd < 0) {
        c->result = fault_set(c->fault, p ? errno : ESRCH,
                              p ? "keep the target's process" : "there is no such target");
        return;
    }
    place_files_end(c->engine, p);
    p->files = *c->files;
    p->files.pidfd = pidfd;
    p->files.used = &s->files;
}

int engine_target_files(struct engine *e, uint32_t session, uint32_t target, int pid, int pidfd,
                        bool writes, struct fault *f) {
    struct files_target files = {.pid = pid, .pidfd = pidfd, .writes = writes};
    struct call c = {
        .engine = e, .session = session, .target = target, .files = &files, .fault = f};
    loop_call(e->loop, target_files, &c);
    return (int)c.result;
}
