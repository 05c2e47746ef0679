/* A target's files, as the engine has them: none, until Python has said whose they are and what may be done. */
#include "agent/engine_inner.h"

#include "native/files_words.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* What goes out by a Unix socket is the target's traffic as any other: who may have none may have no such either. */
struct channel *place_files_open(struct session *s, struct place *p, const struct channel_open *o,
                                 int *err) {
    struct files_target t = p->files;
    t.connects = s->out.reach.outgoing;
    if (o->kind == CHANNEL_FILES)
        return files_open(s->engine->files, &t, (struct files_rates){&s->out.up, &s->out.down}, p,
                          err);
    int fd = files_take(s->engine->files, p, files_socket_handle(&o->destination));
    if (fd >= 0)
        return joined_new(&p->sockets, &s->engine->desk, &s->out, s->mux, fd, err);
    *err = errno;
    return NULL;
}

void place_files_end(struct engine *e, struct place *p) {
    joined_end(&p->sockets, ENETDOWN);
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
