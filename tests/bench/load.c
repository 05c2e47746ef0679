/* The load of every row, from one tool, because one row has no server that iperf3 or wrk could talk to: bulk, round trips one
 * by one, connections opened and closed, connections held, HTTP requests at a given rate with every answer checked.
 * One process, one epoll, one thread (churn: a process for each worker; bulk: one for each stream).
 *
 *   load serve PORT                        PORT: echo; PORT+1: read a request, answer, close; PORT+2: take all to LAST, then say
 *                                          how much (8 octets, big-endian); PORT+3: send without end
 *   load push HOST PORT SECONDS            one stream up; prints "gbit_per_second octets", measured to the last octet
 *                                          taken on the far side
 *   load push HOST PORT SECONDS GBIT       the same, no faster than this
 *   load count PORT                        takes all that comes on any connection; at SIGTERM prints "octets connections"
 *   load pull HOST PORT SECONDS            one stream down; prints the same
 *   load pull HOST PORT SECONDS AT         the same beside others: connects at once, reads from AT on (CLOCK_MONOTONIC, seconds),
 *                                          counts from WARM seconds later
 *   load rtt HOST PORT COUNT               COUNT round trips of 1 octet; prints "p50_us p99_us"
 *   load churn HOST PORT SECONDS WORKERS   connect, request, answer, end; prints "per_second failed"
 *   load hold HOST PORT COUNT              prints "held N", waits for the end of stdin
 *   load http-serve PORT                   keep-alive answers; at SIGTERM prints "requests"
 *   load http-drive HOST PORT RATE SECONDS CONNECTIONS [BODY]   open loop: latency counts from when a request was due;
 *                                          prints "sent answered failed p50_us p99_us max_us"; BODY: the answers are 200s
 *                                          of any head and so many octets, not http-serve's
 *   load http-trips HOST PORT COUNT BODY   one connection, one request after another; prints "p50_us p99_us"
 */
#include "timed.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST = 64, EVENTS = 256, CHUNK = 128 * 1024 };

/* The octet that ends a push; all before it are zero. Not a half-close: sing-box 1.14 ends the whole connection at one. */
enum { LAST = 1 };

/* What windows and buffers held before the reading began has been read by then, and everybody is at work. */
enum { WARM = 2 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok";
static const char GET[] = "GET /bench HTTP/1.1\r\nHost: target\r\nUser-Agent: load\r\n\r\n";

static struct sockaddr_in at(const char *host, const char *port, int plus) {
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)(atoi(port) + plus))};
    if (inet_pton(AF_INET, host, &sa.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(2);
    }
    return sa;
}

static int listen_on(const char *port, int plus) {
    struct sockaddr_in sa = at("0.0.0.0", port, plus);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&sa, sizeof sa) || listen(fd, 4096))
        die("listen");
    return fd;
}

static int dial(const struct sockaddr_in *sa) {
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)sa, sizeof *sa)) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

static void watch(int ep, int fd, uint64_t what) {
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = what};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e))
        die("epoll_ctl");
}

static void raise_fd_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* --- serve ------------------------------------------------------------------------------------------------------ */

static _Noreturn void take_all(int fd) {
    static char buf[CHUNK];
    uint64_t total = 0;
    ssize_t got;
    while ((got = read(fd, buf, sizeof buf)) > 0) {
        total += (uint64_t)got;
        if (buf[got - 1] == LAST) {
            total = htobe64(total);
            _exit(write(fd, &total, sizeof total) != sizeof total);
        }
    }
    _exit(1);
}

static _Noreturn void send_on(int fd) {
    static char buf[CHUNK];
    while (write(fd, buf, sizeof buf) > 0)
        ;
    _exit(0);
}

/* A stream has a process of its own, with blocking calls: the server must not be what limits it. */
static void bulk(int listener, void (*end)(int fd)) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && fork() == 0)
        end(fd);
    close(fd);
}

static void accept_all(int ep, int listener, uint64_t kind) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(ep, fd, kind << 32 | (uint32_t)fd);
    }
}

static _Noreturn void serve(const char *port) {
    enum { LISTEN_ECHO, LISTEN_ONCE, LISTEN_SINK, LISTEN_SOURCE, ECHO, ONCE };
    struct epoll_event events[EVENTS];
    char buf[65536];
    int ep = epoll_create1(EPOLL_CLOEXEC);
    signal(SIGCHLD, SIG_IGN);
    raise_fd_limit();
    for (int kind = LISTEN_ECHO; kind <= LISTEN_SOURCE; kind++) {
        int fd = listen_on(port, kind);
        watch(ep, fd, (uint64_t)kind << 32 | (uint32_t)fd);
    }
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = (int)(uint32_t)events[i].data.u64, kind = (int)(events[i].data.u64 >> 32);
            ssize_t got;
            switch (kind) {
            case LISTEN_ECHO:
            case LISTEN_ONCE:
                accept_all(ep, fd, kind == LISTEN_ECHO ? ECHO : ONCE);
                break;
            case LISTEN_SINK:
                bulk(fd, take_all);
                break;
            case LISTEN_SOURCE:
                bulk(fd, send_on);
                break;
            default:
                got = read(fd, buf, sizeof buf);
                if (got < 0 && errno == EAGAIN)
                    break;
                if (got <= 0 || write(fd, buf, (size_t)got) < 0 || kind == ONCE)
                    close(fd);
            }
        }
    }
}

/* --- bulk -------------------------------------------------------------------------------------------------------- */

static int told(uint64_t octets, uint64_t start) {
    double took = (double)(now_ns() - start) / 1e9;
    printf("%.3f %llu\n", (double)octets * 8 / took / 1e9, (unsigned long long)octets);
    return 0;
}

static int push(const struct sockaddr_in *sa, double seconds, double gbit) {
    static char buf[CHUNK];
    int fd = dial(sa);
    uint64_t start = now_ns(), until = start + (uint64_t)(seconds * 1e9), sent = 0, taken = 0;
    ssize_t n = 0;
    while (fd >= 0 && now_ns() < until && (n = write(fd, buf, sizeof buf)) > 0) {
        sent += (uint64_t)n;
        if (gbit > 0) {
            uint64_t due = start + (uint64_t)((double)sent * 8 / gbit), now = now_ns();
            struct timespec pause = {.tv_nsec = due > now ? (long)(due - now) % 1000000000 : 0};
            nanosleep(&pause, NULL);
        }
    }
    if (fd < 0 || n <= 0)
        die("push");
    buf[0] = LAST;
    sent += (uint64_t)write(fd, buf, 1);
    if (recv(fd, &taken, sizeof taken, MSG_WAITALL) != sizeof taken || be64toh(taken) != sent) {
        fprintf(stderr, "sent %llu, taken %llu\n", (unsigned long long)sent,
                (unsigned long long)be64toh(taken));
        return 1;
    }
    return told(sent, start);
}

/* Reads until then; the octets. */
static uint64_t read_until(int fd, uint64_t until) {
    static char buf[CHUNK];
    uint64_t have = 0;
    ssize_t n;
    while (now_ns() < until) {
        if ((n = read(fd, buf, sizeof buf)) <= 0)
            die("pull");
        have += (uint64_t)n;
    }
    return have;
}

static int pull(const struct sockaddr_in *sa, double seconds) {
    int fd = dial(sa);
    uint64_t start = now_ns();
    if (fd < 0)
        die("pull");
    return told(read_until(fd, start + (uint64_t)(seconds * 1e9)), start);
}

/* One that came too late has not had its share for the whole of the time, and is no measurement. */
static int pull_together(const struct sockaddr_in *sa, double seconds, double at) {
    int fd = dial(sa);
    uint64_t begin = (uint64_t)(at * 1e9);
    struct timespec until = {.tv_sec = (time_t)(begin / 1000000000),
                             .tv_nsec = (long)(begin % 1000000000)};
    if (fd < 0)
        die("pull");
    if (now_ns() > begin) {
        fprintf(stderr, "connected after the others began\n");
        return 1;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
    read_until(fd, begin + WARM * 1000000000ull);
    uint64_t start = now_ns();
    return told(read_until(fd, start + (uint64_t)(seconds * 1e9)), start);
}

/* --- one by one -------------------------------------------------------------------------------------------------- */

static int rtt(const struct sockaddr_in *sa, int count) {
    int fd = dial(sa);
    char octet = 'x';
    uint64_t *took = calloc((size_t)count, sizeof *took);
    if (fd < 0 || !took)
        die("connect");
    for (int i = -count / 10; i < count; i++) { /* a tenth more, first, to warm up */
        uint64_t start = now_ns();
        if (write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1)
            die("round trip");
        if (i >= 0)
            took[i] = now_ns() - start;
    }
    qsort(took, (size_t)count, sizeof *took, by_size);
    printf("%.2f %.2f\n", (double)took[count / 2] / 1e3, (double)took[count * 99 / 100] / 1e3);
    return 0;
}

static bool churn_once(const struct sockaddr_in *sa) {
    char buf[REQUEST] = {'q'};
    int fd = dial(sa);
    if (fd < 0)
        return false;
    size_t have = 0;
    bool ok = write(fd, buf, sizeof buf) == (ssize_t)sizeof buf;
    ssize_t got = 0;
    while (ok && (got = read(fd, buf, sizeof buf)) > 0)
        have += (size_t)got;
    ok = ok && got == 0 && have == sizeof buf;
    close(fd);
    return ok;
}

static int churn(const struct sockaddr_in *sa, double seconds, int workers) {
    int ends[2];
    if (pipe(ends))
        die("pipe");
    uint64_t start = now_ns(), until = start + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < workers; i++) {
        if (fork() == 0) {
            uint64_t count[2] = {0, 0};
            while (now_ns() < until)
                count[churn_once(sa) ? 0 : 1]++;
            _exit(write(ends[1], count, sizeof count) != sizeof count);
        }
    }
    uint64_t count[2], all[2] = {0, 0};
    for (int i = 0; i < workers; i++) {
        if (read(ends[0], count, sizeof count) != sizeof count)
            die("a worker");
        all[0] += count[0];
        all[1] += count[1];
    }
    double took = (double)(now_ns() - start) / 1e9;
    while (wait(NULL) > 0)
        ;
    printf("%.0f %llu\n", (double)all[0] / took, (unsigned long long)all[1]);
    return 0;
}

static int hold(const struct sockaddr_in *sa, int count) {
    int held = 0;
    char octet = 'x';
    raise_fd_limit();
    while (held < count) {
        int fd = dial(sa);
        /* One round trip each, so that every hop has really made its part of the connection. */
        if (fd < 0 || write(fd, &octet, 1) != 1 || read(fd, &octet, 1) != 1)
            break;
        held++;
    }
    printf("held %d\n", held);
    fflush(stdout);
    while (read(0, &octet, 1) > 0)
        ;
    return held == count ? 0 : 1;
}

/* --- HTTP -------------------------------------------------------------------------------------------------------- */

static volatile sig_atomic_t stopping;

static void stop(int signal_number) {
    (void)signal_number;
    stopping = 1;
}

static int count(const char *port) {
    struct epoll_event events[EVENTS];
    static char buf[CHUNK];
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    int ep = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(port, 0), fd;
    unsigned long long total = 0, connections = 0;
    watch(ep, listener, (uint32_t)listener);
    while (!stopping) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if ((int)events[i].data.u64 == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    watch(ep, fd, (uint32_t)fd);
                    connections++;
                }
                continue;
            }
            fd = (int)events[i].data.u64;
            ssize_t got = read(fd, buf, sizeof buf);
            if (got > 0)
                total += (uint64_t)got;
            else if (got == 0 || errno != EAGAIN)
                close(fd);
        }
    }
    printf("%llu %llu\n", total, connections);
    return 0;
}

/* How many blank lines end in this piece; `seen` (0..4) is how much of one came before. Requests have no body. */
static unsigned ends_in(const char *p, size_t n, uint8_t *seen) {
    static const char blank[] = "\r\n\r\n";
    unsigned found = 0;
    for (size_t i = 0; i < n; i++) {
        *seen = p[i] == blank[*seen] ? (uint8_t)(*seen + 1) : p[i] == '\r';
        if (*seen == 4) {
            found++;
            *seen = 0;
        }
    }
    return found;
}

static int http_serve(const char *port) {
    enum { MOST = 65536 };
    static uint8_t seen[MOST];
    struct epoll_event events[EVENTS];
    static char buf[65536];
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    raise_fd_limit();
    int ep = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(port, 0);
    unsigned long long requests = 0;
    watch(ep, listener, (uint32_t)listener);
    while (!stopping) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = (int)events[i].data.u64;
            if (fd == listener) {
                accept_all(ep, fd, 0);
                continue;
            }
            ssize_t got = read(fd, buf, sizeof buf);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got <= 0 || fd >= MOST) {
                if (fd < MOST)
                    seen[fd] = 0;
                close(fd);
                continue;
            }
            unsigned ended = ends_in(buf, (size_t)got, &seen[fd]);
            requests += ended;
            for (unsigned k = 0; k < ended; k++)
                if (write(fd, ANSWER, sizeof ANSWER - 1) < 0)
                    break; /* a mirrored client that is gone: its end is read next */
        }
    }
    printf("%llu\n", requests);
    return 0;
}

struct client {
    int fd;
    uint8_t seen; /* of the blank line after the head; 4: the body comes */
    size_t have;
    uint64_t due;
    bool busy;
};

/* Takes a piece of an answer: 1 when it is whole, 0 when more is to come, -1 when it is another than it should be. */
static int take_answer(struct client *c, const char *p, size_t n, size_t body) {
    if (!body) {
        bool same = c->have + n <= sizeof ANSWER - 1 && memcmp(p, ANSWER + c->have, n) == 0;
        c->have += n;
        return same ? c->have == sizeof ANSWER - 1 : -1;
    }
    static const char ok[] = "HTTP/1.1 200 ", blank[] = "\r\n\r\n";
    if (c->seen == 0 && c->have == 0 && (n < sizeof ok || memcmp(p, ok, sizeof ok - 1) != 0))
        return -1;
    size_t at = 0;
    for (; at < n && c->seen < 4; at++)
        c->seen = p[at] == blank[c->seen] ? (uint8_t)(c->seen + 1) : p[at] == '\r';
    c->have += n - at;
    return c->have > body ? -1 : c->have == body;
}

static int http_trips(const struct sockaddr_in *sa, int count, size_t body) {
    uint64_t *took = calloc((size_t)count, sizeof *took);
    struct client c = {.fd = dial(sa)};
    char buf[65536];
    if (!took || c.fd < 0)
        die("connect");
    for (int i = 0; i < count; i++) {
        uint64_t start = now_ns();
        c.seen = 0;
        c.have = 0;
        if (write(c.fd, GET, sizeof GET - 1) != (ssize_t)sizeof GET - 1)
            die("write");
        int whole = 0;
        while (whole == 0) {
            ssize_t got = read(c.fd, buf, sizeof buf);
            whole = got > 0 ? take_answer(&c, buf, (size_t)got, body) : -1;
        }
        if (whole < 0) {
            fprintf(stderr, "an answer that is another\n");
            return 1;
        }
        took[i] = now_ns() - start;
    }
    qsort(took, (size_t)count, sizeof *took, by_size);
    printf("%.2f %.2f\n", (double)took[count / 2] / 1e3,
           (double)took[(size_t)count * 99 / 100] / 1e3);
    return 0;
}

static void wake_at(int clock, uint64_t when) {
    struct itimerspec once = {.it_value = {.tv_sec = (time_t)(when / 1000000000u),
                                           .tv_nsec = (long)(when % 1000000000u)}};
    if (timerfd_settime(clock, TFD_TIMER_ABSTIME, &once, NULL) != 0)
        die("timer");
}

static int http_drive(const struct sockaddr_in *sa, double rate, double seconds, int connections,
                      size_t body) {
    size_t total = (size_t)(rate * seconds), sent = 0, answered = 0, failed = 0;
    uint64_t *took = calloc(total + 1, sizeof *took);
    struct client *clients = calloc((size_t)connections, sizeof *clients);
    int *idle = calloc((size_t)connections, sizeof *idle), idles = 0;
    struct epoll_event events[EVENTS];
    char buf[65536];
    if (!took || !clients || !idle)
        die("memory");
    raise_fd_limit();
    int ep = epoll_create1(EPOLL_CLOEXEC), clock = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    watch(ep, clock, (uint64_t)-1);
    for (int i = 0; i < connections; i++) {
        if ((clients[i].fd = dial(sa)) < 0)
            die("connect");
        watch(ep, clients[i].fd, (uint64_t)i);
        idle[idles++] = i;
    }
    uint64_t start = now_ns(), end = start + (uint64_t)((seconds + 5) * 1e9);
    while (answered + failed < total && now_ns() < end) {
        uint64_t now = now_ns();
        while (sent < total && idles > 0) {
            uint64_t due = start + (uint64_t)((double)sent / rate * 1e9);
            if (due >
                now) { /* a clock that ticked by itself would add its phase to every latency */
                wake_at(clock, due);
                break;
            }
            struct client *c = &clients[idle[--idles]];
            c->due = due;
            c->busy = true;
            c->seen = 0;
            c->have = 0;
            sent++;
            if (write(c->fd, GET, sizeof GET - 1) != (ssize_t)sizeof GET - 1)
                failed++;
        }
        int n = epoll_wait(ep, events, EVENTS, 100);
        for (int i = 0; i < n; i++) {
            uint64_t id = events[i].data.u64;
            if (id == (uint64_t)-1) {
                uint64_t ticks;
                if (read(clock, &ticks, sizeof ticks) < 0 && errno != EAGAIN)
                    die("timer");
                continue;
            }
            struct client *c = &clients[id];
            ssize_t got = read(c->fd, buf, sizeof buf);
            if (got <= 0) {
                failed += c->busy;
                c->busy = false;
                epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
                continue;
            }
            /* The answer is known octet by octet: anything else is an altered answer, and counts as failed. */
            int whole = c->busy ? take_answer(c, buf, (size_t)got, body) : -1;
            if (whole < 0) {
                failed++;
                c->busy = false;
                epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, NULL);
            } else if (whole) {
                took[answered++] = now_ns() - c->due;
                c->busy = false;
                idle[idles++] = (int)id;
            }
        }
    }
    qsort(took, answered, sizeof *took, by_size);
    printf("%zu %zu %zu %.2f %.2f %.2f\n", sent, answered, failed + (sent - answered - failed),
           answered ? (double)took[answered / 2] / 1e3 : 0,
           answered ? (double)took[answered * 99 / 100] / 1e3 : 0,
           answered ? (double)took[answered - 1] / 1e3 : 0);
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    const char *mode = argc > 1 ? argv[1] : "";
    if (argc == 3 && !strcmp(mode, "serve"))
        serve(argv[2]);
    if (argc == 3 && !strcmp(mode, "http-serve"))
        return http_serve(argv[2]);
    if (argc == 3 && !strcmp(mode, "count"))
        return count(argv[2]);
    if (argc < 5) {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 2;
    }
    struct sockaddr_in sa = at(argv[2], argv[3], 0);
    if (argc == 5 && !strcmp(mode, "push"))
        return push(&sa, atof(argv[4]), 0);
    if (argc == 6 && !strcmp(mode, "push"))
        return push(&sa, atof(argv[4]), atof(argv[5]));
    if (argc == 5 && !strcmp(mode, "pull"))
        return pull(&sa, atof(argv[4]));
    if (argc == 6 && !strcmp(mode, "pull"))
        return pull_together(&sa, atof(argv[4]), atof(argv[5]));
    if (argc == 5 && !strcmp(mode, "rtt"))
        return rtt(&sa, atoi(argv[4]));
    if (argc == 5 && !strcmp(mode, "hold"))
        return hold(&sa, atoi(argv[4]));
    if (argc == 6 && !strcmp(mode, "churn"))
        return churn(&sa, atof(argv[4]), atoi(argv[5]));
    if ((argc == 7 || argc == 8) && !strcmp(mode, "http-drive"))
        return http_drive(&sa, atof(argv[4]), atof(argv[5]), atoi(argv[6]),
                          argc == 8 ? (size_t)atol(argv[7]) : 0);
    if (argc == 6 && !strcmp(mode, "http-trips"))
        return http_trips(&sa, atoi(argv[4]), (size_t)atol(argv[5]));
    fprintf(stderr, "usage: see the head of load.c\n");
    return 2;
}
