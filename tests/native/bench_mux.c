/* How fast one link carries bulk octets between two threads, and what a round trip over it costs.
 *
 *     bench_mux [seconds] [chunk] [channels]
 *
 * Prints MB/s of DATA from one mux to the other over a socketpair (the receiver grants at once and touches nothing), the
 * same octets by bare send and recv with chunks of the same size for comparison, and round trips of one octet. */
#include "mux.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 1024 * 1024, CHANNELS_MAX = 1024 };

struct side {
    struct loop *loop;
    struct mux *mux;
    struct channel channels[CHANNELS_MAX];
    size_t chunk;
    uint64_t octets, rounds;
    uint8_t *buffer;
    struct timer stop;
    bool echo;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static struct side *side_of(struct channel *c);

static void pump(struct channel *c) {
    struct side *s = side_of(c);
    size_t room;
    while ((room = channel_room(c)) > 0)
        channel_send(c, s->buffer, room < s->chunk ? room : s->chunk);
    channel_want_room(c);
}

static void on_opened(struct channel *c) {
    struct side *s = side_of(c);
    if (s->echo)
        channel_send(c, "x", 1);
    else
        pump(c);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct side *s = side_of(c);
    s->octets += n;
    s->rounds++;
    channel_grant(c, n);
    if (s->echo)
        channel_send(c, p, n);
}

static const struct channel_ops channel_ops = {.opened = on_opened, .data = on_data, .room = pump};
static struct side sides[2];

static struct side *side_of(struct channel *c) {
    return c >= sides[0].channels && c < sides[0].channels + CHANNELS_MAX ? &sides[0] : &sides[1];
}

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    struct side *s = owner;
    (void)err;
    struct channel *c = &s->channels[o->target];
    channel_accept(c, &channel_ops, WINDOW);
    return c;
}

static void on_gone(void *owner, const struct fault *why) {
    struct side *s = owner;
    fprintf(stderr, "%s\n", why->text);
    loop_stop(s->loop);
}

static const struct mux_ops mux_ops = {.open = on_open, .gone = on_gone, .cut = on_gone};

static void on_stop(struct timer *t) {
    loop_stop(container_of(t, struct side, stop)->loop);
}

static void *run(void *arg) {
    struct side *s = arg;
    loop_run(s->loop, NULL);
    return NULL;
}

static void measure(const char *name, double seconds, size_t chunk, uint32_t channels, bool echo,
                    bool keeps) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    for (int i = 0; i < 2; i++) {
        struct side *s = &sides[i];
        memset(s, 0, sizeof *s);
        s->loop = loop_new(NULL);
        s->mux = mux_new(s->loop, fds[i], i == 0, &mux_ops, s, NULL);
        CHECK(!keeps || mux_keep(s->mux, NULL) == 0);
        s->chunk = chunk;
        s->buffer = calloc(1, chunk);
        s->echo = echo;
        s->stop.fire = on_stop;
        timer_set(s->loop, &s->stop, loop_now(s->loop) + (uint64_t)(seconds * 1e9));
    }
    for (uint32_t i = 0; i < channels; i++) {
        struct channel_open o = {.kind = CHANNEL_TCP, .window = WINDOW, .target = i};
        channel_open(sides[0].mux, &sides[0].channels[i], &channel_ops, &o);
    }
    double t0 = now(), c0 = cpu();
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, run, &sides[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    double t = now() - t0, c = cpu() - c0, gb = (double)sides[1].octets / 1e9;
    if (echo)
        printf("%-28s %8.2f us a round trip, %.2f us CPU\n", name,
               t * 1e6 / (double)sides[1].rounds, c * 1e6 / (double)sides[1].rounds);
    else
        printf("%-28s %8.0f MB/s, %.3f s CPU/GB, %.0f octets a frame\n", name, gb * 1e3 / t, c / gb,
               (double)sides[1].octets / (double)sides[1].rounds);
    for (int i = 0; i < 2; i++) {
        mux_free(sides[i].mux);
        timer_cancel(sides[i].loop, &sides[i].stop);
        loop_free(sides[i].loop);
        free(sides[i].buffer);
    }
}

/* The bare socket, as far as it goes. */
struct bare {
    int fd;
    size_t chunk;
    double until;
    uint64_t octets;
};

static void *bare_send(void *arg) {
    struct bare *b = arg;
    uint8_t *p = calloc(1, b->chunk);
    while (now() < b->until && send(b->fd, p, b->chunk, MSG_NOSIGNAL) > 0)
        continue;
    shutdown(b->fd, SHUT_WR);
    free(p);
    return NULL;
}

static void *bare_recv(void *arg) {
    struct bare *b = arg;
    size_t size = 256 * 1024;
    uint8_t *p = calloc(1, size);
    for (ssize_t n; (n = recv(b->fd, p, size, 0)) > 0;)
        b->octets += (uint64_t)n;
    free(p);
    return NULL;
}

static void measure_bare(double seconds, size_t chunk) {
    int fds[2];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    struct bare b[2] = {{fds[0], chunk, now() + seconds, 0}, {fds[1], chunk, now() + seconds, 0}};
    double t0 = now(), c0 = cpu();
    pthread_t threads[2];
    pthread_create(&threads[0], NULL, bare_send, &b[0]);
    pthread_create(&threads[1], NULL, bare_recv, &b[1]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    double t = now() - t0, c = cpu() - c0, gb = (double)b[1].octets / 1e9;
    printf("%-28s %8.0f MB/s, %.3f s CPU/GB\n", "bare socketpair", gb * 1e3 / t, c / gb);
    close(fds[0]);
    close(fds[1]);
}

int main(int argc, char **argv) {
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    size_t chunk = argc > 2 ? (size_t)atol(argv[2]) : 65536;
    uint32_t channels = argc > 3 ? (uint32_t)atol(argv[3]) : 16;
    CHECK(chunk > 0 && channels > 0 && channels <= CHANNELS_MAX);
    measure_bare(seconds, chunk);
    for (int keeps = 0; keeps < 2; keeps++) {
        if (keeps)
            printf("a link that may be resumed:\n");
        measure("one channel", seconds, chunk, 1, false, keeps);
        measure("many channels", seconds, chunk, channels, false, keeps);
        measure("one channel, 1,400 octets", seconds, 1400, 1, false, keeps);
        measure("echo of one octet", seconds, 1, 1, true, keeps);
    }
    return 0;
}
