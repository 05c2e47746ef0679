/* The two halves of files without what is around them: a bridge's file system and door, and in a child an agent's service.
 *
 *     harness PID read|write UID GID
 *
 *     harness raw PID read|write FD
 *
 * Serves the files of process PID; the target's own are shown as UID's and GID's. The door is in this process's network
 * namespace. FILES_RATE in the environment: octets a second each way. Commands on stdin, one a line, one line of JSON for each on stdout:
 *
 * raw: the agent's half alone, the channel's stream being FD, a stream socket.
 *   counters   stop (the agent hears nothing)   go   cut (the link ends)   link (another agent)
 *   again (another channel)   quit */
#include "agent/files/files.h"
#include "agent/files/joined.h"
#include "layer/files/filesystem.h"
#include "native/files_words.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OR_DIE(cond, f)                                                                            \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "harness: %s\n", (f).text);                                            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* --- the agent ---------------------------------------------------------------------------------------------------------- */

struct agent {
    struct loop *loop;
    struct mux *mux;
    struct files_desk *desk;
    struct files_target target;
    struct dial_desk dials;
    struct outgoing out;
    struct joined *sockets;
};

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    struct agent *a = owner;
    struct files_rates rates = {&a->out.up, &a->out.down};
    if (o->kind == CHANNEL_FILES)
        return files_open(a->desk, &a->target, rates, a, err);
    int fd = files_take(a->desk, a, files_socket_handle(&o->destination));
    if (fd >= 0)
        return joined_new(&a->sockets, &a->dials, &a->out, a->mux, fd, err);
    *err = errno;
    return NULL;
}

static void on_gone(void *owner, const struct fault *why) {
    struct agent *a = owner;
    (void)why;
    mux_free(a->mux);
    loop_stop(a->loop);
}

static const struct mux_ops agent_ops = {.open = on_open, .gone = on_gone};

static int agent(char **argv) {
    struct fault f = {.text = "pidfd_open"};
    struct agent a = {.target = {.pid = atoi(argv[1]),
                                 .writes = strcmp(argv[2], "write") == 0,
                                 .connects = true}};
    int fd = atoi(argv[3]);
    pid_t target = a.target.pid;
    const char *rate = getenv("FILES_RATE");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    a.target.pidfd = (int)syscall(SYS_pidfd_open, target, 0);
    OR_DIE(a.target.pidfd >= 0, f);
    OR_DIE((a.loop = loop_new(&f)) && (a.desk = files_desk_new(a.loop, &f)), f);
    shaper_init(&a.out.up, a.loop);
    shaper_init(&a.out.down, a.loop);
    shaper_set(&a.out.up, rate ? strtoull(rate, NULL, 10) : 0);
    shaper_set(&a.out.down, rate ? strtoull(rate, NULL, 10) : 0);
    a.dials = (struct dial_desk){.loop = a.loop, .scratch = malloc(DIAL_SCRATCH)};
    OR_DIE(a.dials.scratch, f);
    OR_DIE((a.mux = mux_new(a.loop, fd, false, &agent_ops, &a, &f)), f);
    OR_DIE(loop_run(a.loop, &f) == 0, f);
    shaper_fini(&a.out.up);
    shaper_fini(&a.out.down);
    chunk_pool_free(&a.dials.pool);
    free(a.dials.scratch);
    files_desk_free(a.desk);
    loop_free(a.loop);
    return 0;
}

/* --- the agent's half by itself: a channel whose stream is carried to a socket and back ------------------------------------- */

struct raw {
    struct loop *loop;
    struct mux *mux;
    struct channel channel;
    struct loop_fd io;
};

static void raw_data(struct channel *c, const uint8_t *p, size_t n) {
    struct raw *r = container_of(c, struct raw, channel);
    ssize_t sent = send(r->io.fd, p, n, MSG_NOSIGNAL);
    (void)sent;
    channel_grant(c, n);
}

static void raw_reset(struct channel *c, int err) {
    (void)err;
    loop_stop(container_of(c, struct raw, channel)->loop);
}

static void raw_ready(struct loop_fd *h, uint32_t events) {
    struct raw *r = container_of(h, struct raw, io);
    uint8_t octets[65536];
    (void)events;
    size_t room = channel_room(&r->channel);
    ssize_t n = room ? recv(h->fd, octets, room < sizeof octets ? room : sizeof octets, 0) : 0;
    if (n > 0)
        channel_send(&r->channel, octets, (size_t)n);
    else if (room)
        loop_stop(r->loop);
}

static void *run_agent(void *arg) {
    static char *argv[4];
    char **given = arg;
    for (int i = 0; i < 4; i++)
        argv[i] = given[i];
    agent(argv);
    return NULL;
}

static void raw_gone(void *owner, const struct fault *why) {
    (void)why;
    loop_stop(((struct raw *)owner)->loop);
}

static int raw(char **argv) {
    static const struct channel_ops ops = {.data = raw_data, .reset = raw_reset};
    static const struct mux_ops gone = {.gone = raw_gone};
    struct fault f = {.text = "socketpair"};
    struct raw r = {.io = {.fd = atoi(argv[4]), .ready = raw_ready}};
    struct channel_open o = {.kind = CHANNEL_FILES, .window = 1 << 20};
    int ends[2];
    char number[16];
    char *words[] = {"agent", argv[2], argv[3], number};
    pthread_t thread;
    OR_DIE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, f);
    snprintf(number, sizeof number, "%d", ends[1]);
    pthread_create(&thread, NULL, run_agent, words);
    OR_DIE((r.loop = loop_new(&f)) && (r.mux = mux_new(r.loop, ends[0], true, &gone, &r, &f)), f);
    channel_open(r.mux, &r.channel, &ops, &o);
    OR_DIE(loop_add(r.loop, &r.io, 1 /* EPOLLIN */, &f) == 0, f);
    OR_DIE(loop_run(r.loop, &f) == 0, f);
    loop_del(r.loop, &r.io);
    mux_free(r.mux);
    pthread_join(thread, NULL);
    loop_free(r.loop);
    return 0;
}

/* --- the bridge --------------------------------------------------------------------------------------------------------- */

struct bridge {
    struct loop *loop;
    struct filesystem *fs;
    struct mux *mux;
    int fd;
    pid_t agent;
};

static void link_gone(void *owner, const struct fault *why) {
    struct bridge *b = owner;
    (void)why;
    mux_free(b->mux);
    b->mux = NULL;
    filesystem_link(b->fs, NULL, 0);
}

static const struct mux_ops bridge_ops = {.gone = link_gone};

static void attach(void *arg) {
    struct bridge *b = arg;
    struct fault f;
    OR_DIE(filesystem_attach(b->fs, b->loop, &f) == 0, f);
}

static void join(void *arg) {
    struct bridge *b = arg;
    struct fault f;
    OR_DIE((b->mux = mux_new(b->loop, b->fd, true, &bridge_ops, b, &f)), f);
    filesystem_link(b->fs, b->mux, 0);
}

static void cut(void *arg) {
    struct bridge *b = arg;
    struct fault f = {.text = "the harness cut it"};
    if (b->mux)
        link_gone(b, &f);
}

static void again(void *arg) {
    struct bridge *b = arg;
    filesystem_link(b->fs, NULL, 0);
    filesystem_link(b->fs, b->mux, 0);
}

static void detach(void *arg) {
    struct bridge *b = arg;
    filesystem_detach(b->fs);
}

static void *run(void *arg) {
    struct bridge *b = arg;
    struct fault f;
    OR_DIE(loop_run(b->loop, &f) == 0, f);
    return NULL;
}

static void link_agent(struct bridge *b, char **argv) {
    struct fault f = {.text = "socketpair"};
    int ends[2];
    OR_DIE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, f);
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    char number[16];
    snprintf(number, sizeof number, "%d", ends[1]);
    b->agent = fork();
    if (b->agent == 0) { /* a program of its own: threads do not cross a fork */
        execl("/proc/self/exe", "agent", argv[1], argv[2], number, NULL);
        _exit(127);
    }
    close(ends[1]);
    b->fd = ends[0];
    loop_call(b->loop, join, b);
}

static void answer(struct bridge *b, char **argv, const char *command) {
    if (strcmp(command, "stop\n") == 0)
        kill(b->agent, SIGSTOP);
    else if (strcmp(command, "go\n") == 0)
        kill(b->agent, SIGCONT);
    else if (strcmp(command, "cut\n") == 0)
        loop_call(b->loop, cut, b);
    else if (strcmp(command, "again\n") == 0)
        loop_call(b->loop, again, b);
    else if (strcmp(command, "link\n") == 0)
        link_agent(b, argv);
    struct filesystem_counters c;
    filesystem_counters(b->fs, &c);
    printf("{\"asked\": %lu, \"ahead\": %lu, \"octets\": %lu, \"opened\": %lu}\n", c.asked, c.ahead,
           c.octets, c.opened);
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct fault f = {.text = "usage: harness PID read|write UID GID"};
    if (argc == 4 && strcmp(argv[0], "agent") == 0)
        return agent(argv);
    if (argc == 5 && strcmp(argv[1], "raw") == 0)
        return raw(argv);
    OR_DIE(argc == 5, f);
    struct bridge b = {.fd = -1};
    struct filesystem_settings settings = {.uid = (uid_t)atoi(argv[3]),
                                           .gid = (gid_t)atoi(argv[4]),
                                           .writes = strcmp(argv[2], "write") == 0};
    pthread_t thread;
    char line[64];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    OR_DIE((b.loop = loop_new(&f)), f);
    OR_DIE((b.fs = filesystem_new(&settings, &f)), f);
    loop_call(b.loop, attach, &b);
    pthread_create(&thread, NULL, run, &b);
    link_agent(&b, argv);
    answer(&b, argv, "");
    while (fgets(line, sizeof line, stdin) && strcmp(line, "quit\n") != 0)
        answer(&b, argv, line);
    kill(b.agent, SIGCONT);
    loop_call(b.loop, cut, &b);
    loop_call(b.loop, detach, &b);
    loop_stop(b.loop);
    pthread_join(thread, NULL);
    filesystem_free(b.fs);
    loop_free(b.loop);
    int status, result = 0;
    while (wait(&status) > 0)
        result |= status;
    return result != 0;
}
