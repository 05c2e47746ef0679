/* A link and nothing else: what it carries, and how long a message takes there and back. Two processes, one of the product's
 * multiplexers in each, one channel.
 *
 *     link serve FD [keep]              the far end of a stream socket
 *     link pull FD SECONDS [keep]       prints octets per second that came
 *     link trips FD COUNT [keep]        prints "p50_us p99_us" of 64 octets there and as many back
 */
#include "timed.h"

#include "native/mux.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SMALL = 64, PIECE = 128 * 1024 };

struct end {
    struct loop *loop;
    struct mux *mux;
    struct channel channel;
    bool pulls;
    uint64_t began, lasts, octets, left, *took, count;
};

static void gone(void *owner, const struct fault *why) {
    (void)why;
    loop_stop(((struct end *)owner)->loop);
}

/* --- the far end: a channel's source address says what is wanted (port 1: octets without end) ---------------------------------- */

static void room(struct channel *c) {
    static uint8_t zeroes[PIECE];
    size_t n = channel_room(c);
    if (n > 0)
        channel_send(c, zeroes, n < PIECE ? n : PIECE);
    channel_want_room(c);
}

static void asked(struct channel *c, const uint8_t *p, size_t n) {
    struct end *e = container_of(c, struct end, channel);
    channel_grant(c, n);
    if (e->pulls)
        channel_want_room(c);
    else if (channel_room(c) >= n)
        channel_send(c, p, n);
}

static const struct channel_ops far_ops = {.data = asked, .room = room};

static struct channel *far_open(void *owner, const struct channel_open *o, int *err) {
    struct end *e = owner;
    *err = EBUSY;
    if (channel_attached(&e->channel))
        return NULL;
    channel_accept(&e->channel, &far_ops, 1 << 20);
    e->pulls = o->source.port == 1;
    return &e->channel;
}

static const struct mux_ops far_mux = {.open = far_open, .gone = gone, .cut = gone};

/* --- the near end ---------------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void ping(struct end *e) {
    static const uint8_t zeroes[SMALL];
    e->began = now_ns();
    e->octets = 0;
    channel_send(&e->channel, zeroes, SMALL);
}

static void pulled(struct end *e, size_t n) {
    uint64_t now = now_ns();
    e->octets += n;
    if (now < e->began + e->lasts)
        return;
    printf("%.0f\n", (double)e->octets * 1e9 / (double)(now - e->began));
    channel_reset(&e->channel, 0);
    loop_stop(e->loop);
}

static void tripped(struct end *e, size_t n) {
    if ((e->octets += n) < SMALL)
        return;
    e->took[e->count - e->left] = now_ns() - e->began;
    if (--e->left > 0) {
        ping(e);
        return;
    }
    qsort(e->took, e->count, sizeof *e->took, ascending);
    printf("%.3f %.3f\n", (double)e->took[e->count / 2] / 1e3,
           (double)e->took[e->count * 99 / 100] / 1e3);
    loop_stop(e->loop);
}

static void came(struct channel *c, const uint8_t *p, size_t n) {
    struct end *e = container_of(c, struct end, channel);
    (void)p;
    channel_grant(c, n);
    if (e->pulls)
        pulled(e, n);
    else
        tripped(e, n);
}

static void opened(struct channel *c) {
    ping(container_of(c, struct end, channel));
}

static const struct channel_ops near_ops = {.opened = opened, .data = came};
static const struct mux_ops near_mux = {.gone = gone, .cut = gone};

static void start(struct end *e) {
    struct channel_open o = {.kind = CHANNEL_TCP,
                             .window = mux_window(e->mux, 1 << 20),
                             .source = {.addr = {.family = 4}, .port = e->pulls},
                             .destination = {.addr = {.family = 4}, .port = 1}};
    channel_open(e->mux, &e->channel, &near_ops, &o);
}

int main(int argc, char **argv) {
    struct fault f = {.text = "usage: link serve FD | pull FD SECONDS | trips FD COUNT [keep]"};
    struct end e = {.loop = NULL};
    bool serves = argc > 2 && strcmp(argv[1], "serve") == 0;
    bool keep = argc > 1 && strcmp(argv[argc - 1], "keep") == 0;
    if (argc < (serves ? 3 : 4))
        goto failed;
    signal(SIGPIPE, SIG_IGN);
    e.pulls = strcmp(argv[1], "pull") == 0;
    e.left = e.count = serves || e.pulls ? 0 : (uint64_t)atoi(argv[3]);
    e.lasts = e.pulls ? (uint64_t)(atof(argv[3]) * 1e9) : 0;
    e.took = calloc(e.count + 1, sizeof *e.took);
    if (!(e.loop = loop_new(&f)) || !e.took)
        goto failed;
    e.mux = mux_new(e.loop, atoi(argv[2]), !serves, serves ? &far_mux : &near_mux, &e, &f);
    if (!e.mux || (keep && mux_keep(e.mux, &f) < 0))
        goto failed;
    if (!serves)
        start(&e);
    if (loop_run(e.loop, &f) == 0)
        return 0;
failed:
    fprintf(stderr, "link: %s\n", f.text);
    return 1;
}
