/* A mirror without its agent: mirror and mux in one process, and in a child of it a bridge that writes down what it is told.
 *
 *     harness NETNS RECORD APP
 *
 * NETNS: path of the target's network namespace. RECORD: a file; see `note`. APP: how the bridge behaves, one of
 *   take    grants everything at once          stall   accepts, never grants
 *   refuse  RESET(ECONNREFUSED)                close   ends its side when a request's head has arrived, as HTTP/1.0 does
 *   PORT    a number: it is a server on 127.0.0.1 here, whose answers come back
 *   pattern as take, but compares octets with the stream's pattern (PATTERN octets of a fixed xorshift, repeated) and notes only their number
 * Commands on stdin, one a line, one line of JSON for each on stdout:
 *   choose FILTER (msgpack, in hexadecimal)   ports PROTO TARGET APP ...   counters   seen   settle (answers when nothing has come out of the ring for 60 ms)   quit */
#include "agent/http/filter.h"
#include "agent/mirror.h"
#include "native/sockdiag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WINDOW  (1024 * 1024)
#define PATTERN 1000003 /* prime: no frame size divides it */

/* --- the bridge ------------------------------------------------------------------------------------------------- */

enum kind { OPEN = 1, DATA, EOFS, RESET, DATAGRAM, OCTETS };

static FILE *record;
static const char *app;
static struct loop *child_loop;
static uint32_t opened;

struct seen {
    struct channel channel;
    uint32_t number;
    uint64_t octets, wrong;
    uint32_t newlines;
    struct loop_fd server;
    bool reads;
    bool ended;
};

/* One record: kind, number of the channel in order of OPENs, length (u32 each, little-endian), octets. */
static void note(enum kind kind, uint32_t number, const void *p, size_t n) {
    uint32_t head[3] = {kind, number, (uint32_t)n};
    fwrite(head, sizeof head, 1, record);
    if (n > 0)
        fwrite(p, n, 1, record);
}

static void note_octets(const struct seen *s) {
    uint64_t both[2] = {s->octets, s->wrong};
    note(OCTETS, s->number, both, sizeof both);
}

static uint8_t pattern[PATTERN];

static void make_pattern(void) {
    uint64_t x = 88172645463325252ull; /* Marsaglia, "Xorshift RNGs" */
    for (size_t i = 0; i < PATTERN; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (uint8_t)x;
    }
}

static void check_pattern(struct seen *s, const uint8_t *p, size_t n) {
    for (size_t done = 0, part; done < n; done += part) {
        size_t at = (s->octets + done) % PATTERN;
        part = n - done < PATTERN - at ? n - done : PATTERN - at;
        s->wrong += memcmp(p + done, pattern + at, part) != 0;
    }
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct seen *s = container_of(c, struct seen, channel);
    if (strcmp(app, "pattern") == 0)
        check_pattern(s, p, n);
    else
        note(DATA, s->number, p, n);
    s->octets += n;
    if (strcmp(app, "stall") == 0)
        return;
    if (s->server.fd >= 0)
        send(s->server.fd, p, n, MSG_NOSIGNAL);
    channel_grant(c, n);
    if (strcmp(app, "close") != 0 || s->ended)
        return;
    for (size_t i = 0; i < n; i++)
        s->newlines = p[i] == '\n' ? s->newlines + 1 : p[i] == '\r' ? s->newlines : 0;
    if (s->newlines >= 2) {
        s->ended = true;
        channel_eof(c);
    }
}

/* --- an app that is a server ------------------------------------------------------------------------------------- */

static void over(struct seen *s);

static void server_ready(struct loop_fd *h, uint32_t events) {
    struct seen *s = container_of(h, struct seen, server);
    uint8_t octets[65536];
    size_t room = channel_room(&s->channel);
    (void)events;
    if (room == 0) {
        loop_watch(child_loop, h, 0);
        channel_want_room(&s->channel);
        return;
    }
    ssize_t n = recv(h->fd, octets, room < sizeof octets ? room : sizeof octets, MSG_DONTWAIT);
    if (n > 0) {
        channel_send(&s->channel, octets, (size_t)n);
        return;
    }
    loop_del(child_loop, h);
    s->reads = false;
    channel_eof(&s->channel);
    if (!channel_attached(&s->channel))
        over(s);
}

static void on_room(struct channel *c) {
    struct seen *s = container_of(c, struct seen, channel);
    if (s->reads)
        loop_watch(child_loop, &s->server, EPOLLIN);
}

static void server_end(struct seen *s) {
    if (s->server.fd < 0)
        return;
    if (s->reads)
        loop_del(child_loop, &s->server);
    close(s->server.fd);
}

static void server_begin(struct seen *s) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(app)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct fault f;
    s->server = (struct loop_fd){.fd = -1, .ready = server_ready};
    if (app[0] < '0' || app[0] > '9')
        return;
    s->server.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(connect(s->server.fd, (struct sockaddr *)&to, sizeof to) == 0);
    CHECK(loop_add(child_loop, &s->server, EPOLLIN, &f) == 0);
    s->reads = true;
}

static void over(struct seen *s) {
    server_end(s);
    if (strcmp(app, "pattern") == 0)
        note_octets(s);
    free(s);
}

static void on_eof(struct channel *c) {
    struct seen *s = container_of(c, struct seen, channel);
    note(EOFS, s->number, NULL, 0);
    if (s->reads) { /* its end comes with the last answer */
        shutdown(s->server.fd, SHUT_WR);
        return;
    }
    if (channel_attached(c))
        channel_eof(c);
    over(s);
}

static void on_reset(struct channel *c, int err) {
    struct seen *s = container_of(c, struct seen, channel);
    note(RESET, s->number, &err, sizeof err);
    over(s);
}

static void on_datagram(struct channel *c, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    (void)peer;
    note(DATAGRAM, container_of(c, struct seen, channel)->number, p, n);
}

static const struct channel_ops seen_ops = {
    .data = on_data, .room = on_room, .datagram = on_datagram, .eof = on_eof, .reset = on_reset};

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    (void)owner;
    char text[256], from[ENDPOINT_TEXT], to[ENDPOINT_TEXT];
    struct seen *s = calloc(1, sizeof *s);
    s->number = opened++;
    int n = snprintf(text, sizeof text, "%d %s %s %u", o->kind, endpoint_text(&o->source, from),
                     endpoint_text(&o->destination, to), o->target);
    note(OPEN, s->number, text, (size_t)n);
    if (strcmp(app, "refuse") == 0) {
        free(s);
        *err = ECONNREFUSED;
        return NULL;
    }
    server_begin(s);
    channel_accept(&s->channel, &seen_ops, WINDOW);
    return &s->channel;
}

static void on_gone(void *owner, const struct fault *why) {
    (void)owner;
    (void)why;
    loop_stop(child_loop);
}

static int bridge(int fd, const char *path) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    static const struct mux_ops ops = {.open = on_open, .gone = on_gone};
    struct fault f;
    make_pattern();
    record = fopen(path, "w");
    child_loop = loop_new(&f);
    struct mux *mux = mux_new(child_loop, fd, true, &ops, NULL, &f);
    CHECK(record && mux);
    CHECK(loop_run(child_loop, &f) == 0);
    mux_free(mux);
    loop_free(child_loop);
    return fclose(record);
}

/* --- the agent -------------------------------------------------------------------------------------------------- */

struct agent {
    struct loop *loop;
    struct mirror *mirror;
    struct http_filter *filter;
    struct loop_fd commands;
    struct timer settled;
    uint64_t before;
    int quiet;
};

static bool owns_none(void *ctx, const struct endpoint *e) {
    (void)ctx;
    (void)e;
    return false;
}

static uint64_t progress(const struct agent *a) {
    struct mirror_counters c;
    mirror_counters_get(a->mirror, &c);
    return c.bytes + c.connections + c.datagrams + c.dropped + c.skipped + c.joined;
}

static void settle_tick(struct timer *t) {
    struct agent *a = container_of(t, struct agent, settled);
    uint64_t is = progress(a);
    a->quiet = is == a->before ? a->quiet + 1 : 0;
    a->before = is;
    if (a->quiet == 3)
        printf("{\"settled\": true}\n");
    else
        timer_set(a->loop, t, loop_now(a->loop) + 20 * 1000 * 1000);
}

static long resident(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    CHECK(f && fscanf(f, "%*d %ld", &pages) == 1);
    fclose(f);
    return pages * 4096;
}

static void print_counters(const struct agent *a) {
    struct mirror_counters c;
    struct rusage u;
    mirror_counters_get(a->mirror, &c);
    getrusage(RUSAGE_SELF, &u);
    printf("{\"connections\": %lu, \"bytes\": %lu, \"datagrams\": %lu, \"joined\": %lu, "
           "\"skipped\": %lu, "
           "\"dropped\": %lu, \"lost_packets\": %lu, \"cpu\": %.3f, \"resident\": %ld}\n",
           c.connections, c.bytes, c.datagrams, c.joined, c.skipped, c.dropped, c.lost_packets,
           (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
               (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
           resident());
}

static void set_ports(struct agent *a, char *rest) {
    struct mirror_port ports[64];
    size_t n = 0;
    unsigned proto, target, to;
    int used;
    for (; n < 64 && sscanf(rest, " %u %u %u%n", &proto, &target, &to, &used) == 3; rest += used)
        ports[n++] = (struct mirror_port){(uint8_t)proto, (uint16_t)target, (uint16_t)to};
    mirror_ports(a->mirror, ports, n);
    const struct fault *f = mirror_fault(a->mirror);
    printf("{\"ports\": %zu, \"fault\": \"%s\"}\n", n, f ? f->text : "");
}

static void choose(struct agent *a, const char *hex) {
    uint8_t octets[512];
    size_t n = 0;
    unsigned v;
    for (; n < sizeof octets && sscanf(hex + 2 * n, " %2x", &v) == 1; n++)
        octets[n] = (uint8_t)v;
    struct span s = span_of(octets, n);
    struct fault f = {0};
    a->filter = http_filter_read(&s, &f);
    if (a->filter)
        mirror_choose(a->mirror, a->filter);
    for (char *c = f.text; *c; c++)
        *c = *c == 0x22 ? 0x27 : *c; /* as JSON has it */
    printf("{\"fault\": \"%s\"}\n", f.text);
}

static void print_seen(const struct agent *a) {
    struct mirror_seen seen[64];
    size_t n = mirror_seen_get(a->mirror, seen, 64);
    printf("{\"ports\": [");
    for (size_t i = 0; i < n; i++)
        printf("%s{\"port\": %u, \"seen\": %lu, \"matched\": %lu, \"tls\": %lu, \"other\": %lu, "
               "\"last\": \"%.*s\"}",
               i ? ", " : "", seen[i].target_port, seen[i].seen, seen[i].matched, seen[i].tls,
               seen[i].other, (int)seen[i].last_n, seen[i].last);
    printf("]}\n");
}

static void on_command(struct loop_fd *h, uint32_t events) {
    struct agent *a = container_of(h, struct agent, commands);
    char line[1024];
    ssize_t n =
        read(h->fd, line, sizeof line - 1); /* one command is written at a time, and answered */
    (void)events;
    if (n <= 0 || strncmp(line, "quit", 4) == 0) {
        loop_stop(a->loop);
        return;
    }
    line[n] = 0;
    if (strncmp(line, "ports", 5) == 0) {
        set_ports(a, line + 5);
    } else if (strncmp(line, "choose ", 7) == 0) {
        choose(a, line + 7);
    } else if (strncmp(line, "seen", 4) == 0) {
        print_seen(a);
    } else if (strncmp(line, "counters", 8) == 0) {
        print_counters(a);
    } else if (strncmp(line, "settle", 6) == 0) {
        a->quiet = -1;
        settle_tick(&a->settled);
    }
}

static void agent_gone(void *owner, const struct fault *why) {
    fprintf(stderr, "harness: %s\n", why->text);
    loop_stop(((struct agent *)owner)->loop);
}

static int born_there(const char *netns, int fds[3], struct fault *f) {
    int there = open(netns, O_RDONLY | O_CLOEXEC),
        home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    CHECK(there >= 0 && home >= 0 && setns(there, CLONE_NEWNET) == 0);
    fds[0] = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    fds[1] = sockdiag_open(f);
    fds[2] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    CHECK(setns(home, CLONE_NEWNET) == 0);
    close(there);
    close(home);
    return fds[0] >= 0 && fds[1] >= 0 && fds[2] >= 0 ? 0 : -1;
}

int main(int argc, char **argv) {
    CHECK(argc == 4);
    app = argv[3];
    setvbuf(stdout, NULL, _IOLBF, 0);
    int pair[2], fds[3];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(pair[0]);
        return bridge(pair[1], argv[2]);
    }
    close(pair[1]);
    struct fault f = {0};
    struct agent a = {.commands = {.fd = 0, .ready = on_command}, .settled = {.fire = settle_tick}};
    static const struct mux_ops ops = {.gone = agent_gone};
    CHECK(born_there(argv[1], fds, &f) == 0);
    a.loop = loop_new(&f);
    struct mux *mux = mux_new(a.loop, pair[0], false, &ops, &a, &f);
    a.mirror = mirror_new(a.loop, mux, 7, fds[0], fds[1], owns_none, NULL, &f);
    CHECK(a.mirror && loop_add(a.loop, &a.commands, EPOLLIN, &f) == 0);
    mirror_conntrack(a.mirror, fds[2]);
    printf("{\"ready\": true}\n");
    CHECK(loop_run(a.loop, &f) == 0);
    timer_cancel(a.loop, &a.settled);
    loop_del(a.loop, &a.commands);
    mirror_free(a.mirror);
    http_filter_free(a.filter);
    mux_free(mux);
    loop_free(a.loop);
    int status = 1;
    waitpid(child, &status, 0);
    return status;
}
