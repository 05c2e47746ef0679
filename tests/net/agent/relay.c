/* The agent's dialling by itself, with nothing of Python in the way: how fast, and whether all of it is given back.
 *
 *     relay TARGET_NETNS WORLD_NETNS WORLD_IPV4 up|down SECONDS
 *     relay TARGET_NETNS WORLD_NETNS WORLD_IPV4 connects SECONDS AT_ONCE
 *     relay TARGET_NETNS WORLD_NETNS WORLD_IPV4 idle CONNECTIONS
 *
 * Three processes: a server in the world's namespace, the agent's engine, and the bridge's end of the link, which is
 * this file's, on the same multiplexer. Prints one JSON object. Built with a leak checker it is a test as well: the
 * engine's process frees everything and exits by itself, and its status is this program's. */
#include "agent/engine.h"
#include "native/loop.h"
#include "native/mux.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PORT   7070
#define WINDOW (4 * 1024 * 1024)
#define PIECE  (256 * 1024)
#define SECOND 1000000000ull

static void must(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int open_netns(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    must(fd >= 0, path);
    return fd;
}

/* --- the server ---------------------------------------------------------------------------------------------------- */

static uint8_t piece[PIECE];

static void serve(int listener, const char *mode) {
    signal(SIGPIPE, SIG_IGN);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        must(fd >= 0, "accept");
        if (!strcmp(mode, "up"))
            while (recv(fd, piece, sizeof piece, 0) > 0)
                continue;
        else if (!strcmp(mode, "down"))
            while (send(fd, piece, sizeof piece, 0) > 0)
                continue;
        else if (!strcmp(mode, "idle"))
            continue;
        else if (recv(fd, piece, 1, 0) == 1)
            must(send(fd, piece, 1, 0) == 1, "answer");
        close(fd);
    }
}

static pid_t start_server(const char *netns, const char *ip, const char *mode) {
    int back = open_netns("/proc/self/ns/net"), there = open_netns(netns);
    must(setns(there, CLONE_NEWNET) == 0, "enter the world");
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(listener >= 0 && setns(back, CLONE_NEWNET) == 0, "a socket in the world");
    close(there);
    close(back);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    inet_pton(AF_INET, ip, &at.sin_addr);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    must(bind(listener, (struct sockaddr *)&at, sizeof at) == 0 && listen(listener, 4096) == 0,
         "listen");
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0)
        serve(listener, mode);
    close(listener);
    return pid;
}

/* --- the agent ----------------------------------------------------------------------------------------------------- */

static void *run_engine(void *engine) {
    struct fault f;
    must(engine_run(engine, &f) == 0, "the engine");
    return NULL;
}

/* Ends when `until` is closed at its other end. */
static pid_t start_agent(const char *netns, int link, int until, int others) {
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid != 0)
        return pid;
    close(others);
    struct fault f;
    struct engine *e = engine_new(NULL, &f);
    must(e != NULL, "an engine");
    int target = open_netns(netns);
    pthread_t thread;
    must(pthread_create(&thread, NULL, run_engine, e) == 0, "a thread");
    must(engine_session_add(e, 1, &f) == 0 && engine_target_set(e, 1, 0, target, &f) == 0, f.text);
    must(engine_link_add(e, 1, link, false, &f) > 0, f.text);
    close(target);
    char end;
    must(read(until, &end, 1) == 0, "wait for the end");
    engine_stop(e);
    pthread_join(thread, NULL);
    engine_free(e);
    close(until);
    exit(0); /* not _exit: the leak checker looks now */
}

/* --- the bridge's end ---------------------------------------------------------------------------------------------- */

struct bench {
    struct loop *loop;
    struct mux *mux;
    struct channel_open to;
    const char *mode;
    uint64_t began, until; /* ns; `until` 0: when `wanted` are open */
    uint64_t octets, done;
    uint32_t wanted, open;
    bool failed;
};

struct flow {
    struct channel channel;
    struct bench *bench;
};

static const struct channel_ops ops;

static void flow_start(struct bench *b) {
    struct flow *f = calloc(1, sizeof *f);
    must(f != NULL, "memory");
    f->bench = b;
    channel_open(b->mux, &f->channel, &ops, &b->to);
}

static bool over(struct bench *b) {
    if (b->until && loop_now(b->loop) >= b->until)
        loop_stop(b->loop);
    return b->until && loop_now(b->loop) >= b->until;
}

static void fill(struct channel *c) {
    struct bench *b = container_of(c, struct flow, channel)->bench;
    size_t room;
    while (!over(b) && (room = channel_room(c)) > 0) {
        size_t n = room < sizeof piece ? room : sizeof piece;
        channel_send(c, piece, n);
        b->octets += n;
    }
    channel_want_room(c);
}

static void on_opened(struct channel *c) {
    struct bench *b = container_of(c, struct flow, channel)->bench;
    if (++b->open == b->wanted && !b->until)
        loop_stop(b->loop);
    if (!strcmp(b->mode, "up"))
        fill(c);
    else if (!strcmp(b->mode, "connects"))
        channel_send(c, "?", 1);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct bench *b = container_of(c, struct flow, channel)->bench;
    (void)p;
    b->octets += n;
    channel_grant(c, n);
    over(b);
}

static void on_eof(struct channel *c) {
    struct flow *f = container_of(c, struct flow, channel);
    struct bench *b = f->bench;
    channel_eof(c);
    b->open--;
    b->done++;
    free(f);
    if (!over(b))
        flow_start(b);
}

static void on_reset(struct channel *c, int err) {
    struct flow *f = container_of(c, struct flow, channel);
    if (err != ENETRESET) { /* the link's end is ours */
        fprintf(stderr, "relay: a connection was reset: %s\n", strerror(err));
        f->bench->failed = true;
        loop_stop(f->bench->loop);
    }
    free(f);
}

static const struct channel_ops ops = {
    .opened = on_opened, .data = on_data, .room = fill, .eof = on_eof, .reset = on_reset};

static struct channel *refuse(void *owner, const struct channel_open *o, int *err) {
    (void)owner, (void)o;
    *err = EPROTONOSUPPORT;
    return NULL;
}

static void gone(void *owner, const struct fault *why) {
    struct bench *b = owner;
    fprintf(stderr, "relay: %s\n", why->text);
    b->failed = true;
    loop_stop(b->loop);
}

static const struct mux_ops link_ops = {.open = refuse, .gone = gone};

static uint64_t clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static long rss_kib(pid_t pid) {
    char path[64], line[256];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    must(file != NULL, path);
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kib) == 1)
            break;
    fclose(file);
    return kib;
}

static double cpu_seconds(pid_t pid) {
    char path[64], line[1024];
    long user = 0, kernel = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    must(file != NULL && fgets(line, sizeof line, file), path);
    fclose(file);
    sscanf(strrchr(line, ')') + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user,
           &kernel);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static void report(const struct bench *b, pid_t agent, long rss_before, double cpu) {
    double seconds = (double)(clock_now() - b->began) / 1e9;
    printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"gbit_per_s\": %.3f, \"connections\": %llu, "
           "\"per_s\": %.0f, \"agent_cpu\": %.2f, \"rss_kib\": [%ld, %ld]}\n",
           b->mode, seconds, (double)b->octets * 8 / seconds / 1e9, (unsigned long long)b->done,
           (double)b->done / seconds, cpu, rss_before, rss_kib(agent));
}

static bool play(struct bench *b, int link, pid_t agent, double seconds) {
    struct fault f;
    b->loop = loop_new(&f);
    must(b->loop != NULL, "a loop");
    b->mux = mux_new(b->loop, link, true, &link_ops, b, &f);
    must(b->mux != NULL, f.text);
    long rss = rss_kib(agent);
    double cpu = cpu_seconds(agent);
    b->began = clock_now();
    b->until = seconds > 0 ? b->began + (uint64_t)(seconds * 1e9) : 0;
    for (uint32_t i = 0; i < b->wanted; i++)
        flow_start(b);
    must(loop_run(b->loop, &f) == 0, "the loop");
    report(b, agent, rss, cpu_seconds(agent) - cpu);
    mux_free(b->mux);
    loop_free(b->loop);
    return !b->failed;
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr,
                "usage: relay TARGET_NETNS WORLD_NETNS IPV4 up|down|connects|idle N [AT_ONCE]\n");
        return 2;
    }
    const char *mode = argv[4];
    bool idle = !strcmp(mode, "idle");
    int link[2], life[2];
    pid_t server =
        start_server(argv[2], argv[3], mode); /* first: it inherits nothing of the others */
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, link) == 0 &&
             pipe2(life, O_CLOEXEC) == 0,
         "pipes");
    pid_t agent = start_agent(argv[1], link[1], life[0], life[1]);
    close(link[1]);
    close(life[0]);
    struct bench b = {.mode = mode,
                      .wanted = idle       ? (uint32_t)atoi(argv[5])
                                : argc > 6 ? (uint32_t)atoi(argv[6])
                                           : 1};
    b.to = (struct channel_open){.kind = CHANNEL_TCP, .window = WINDOW};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    inet_pton(AF_INET, argv[3], &at.sin_addr);
    endpoint_from_sockaddr((struct sockaddr *)&at, &b.to.destination);
    b.to.source = b.to.destination;
    bool ok = play(&b, link[0], agent, idle ? 0 : atof(argv[5]));
    int status;
    close(life[1]);
    must(waitpid(agent, &status, 0) == agent, "wait for the agent");
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    return ok && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : 1;
}
