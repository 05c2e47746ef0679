/* The stream of a talk is a fixed pattern, so that every octet received is compared by its place. */
#include "pair.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

enum { PERIOD = 251, BLOCK = 128 * 1024 };

const uint8_t *talk_pattern(uint64_t offset) {
    static uint8_t block[BLOCK + PERIOD];
    if (block[1] == 0) {
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = (uint8_t)(i % PERIOD);
    }
    return block + offset % PERIOD;
}

struct talk *talk_new(struct end *e, uint32_t key) {
    struct talk *t = calloc(1, sizeof *t);
    t->end = e;
    t->key = key;
    t->channel.ops = &talk_ops;
    e->talks[key] = t;
    return t;
}

void talk_free(struct talk *t) {
    EXPECT(!channel_attached(&t->channel));
    t->end->talks[t->key] = NULL;
    free(t);
}

struct talk *talk_open(struct end *e, enum channel_kind kind, uint32_t key, uint32_t window,
                       uint64_t to_send) {
    struct channel_open o = {.kind = kind, .window = window, .target = key};
    struct talk *t = talk_new(e, key);
    t->to_send = to_send;
    channel_open(e->mux, &t->channel, &talk_ops, &o);
    return t;
}

/* Sends in pieces of changing size, by send and by sendv. */
void talk_pump(struct talk *t) {
    while (t->sent < t->to_send) {
        size_t room = channel_room(&t->channel);
        if (room == 0) {
            channel_want_room(&t->channel);
            return;
        }
        size_t n = t->to_send - t->sent < room ? t->to_send - t->sent : room;
        size_t most = 1 + (t->sent * 7919) % BLOCK;
        n = n < most ? n : most;
        const uint8_t *p = talk_pattern(t->sent);
        struct iovec iov[3] = {
            {(void *)(uintptr_t)p, n / 3}, {NULL, 0}, {(void *)(uintptr_t)(p + n / 3), n - n / 3}};
        t->sent += n;
        if (n % 2 == 0)
            channel_sendv(&t->channel, iov, 3);
        else
            channel_send(&t->channel, p, n);
    }
    if (t->eof_after)
        channel_eof(&t->channel);
}

static bool hooked(struct talk *t, const char *callback) {
    return t->hook != NULL && t->hook(t, callback);
}

static void on_opened(struct channel *c) {
    struct talk *t = container_of(c, struct talk, channel);
    t->opened++;
    if (!hooked(t, "opened"))
        talk_pump(t);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct talk *t = container_of(c, struct talk, channel);
    EXPECT(n <= MUX_FRAME_DATA && memcmp(p, talk_pattern(t->got), n) == 0);
    t->got += n;
    if (!hooked(t, "data") && !t->hoard)
        channel_grant(c, n);
}

static void on_datagram(struct channel *c, const struct endpoint *peer, const uint8_t *p,
                        size_t n) {
    struct talk *t = container_of(c, struct talk, channel);
    EXPECT(memcmp(p, talk_pattern(0), n) == 0);
    t->datagrams++;
    t->peer = *peer;
    t->got += n;
    hooked(t, "datagram");
}

static void on_unreachable(struct channel *c, const struct endpoint *peer, int err) {
    struct talk *t = container_of(c, struct talk, channel);
    t->unreachables++;
    t->peer = *peer;
    t->err = err;
    hooked(t, "unreachable");
}

static void on_room(struct channel *c) {
    struct talk *t = container_of(c, struct talk, channel);
    t->rooms++;
    if (!hooked(t, "room"))
        talk_pump(t);
}

static void on_eof(struct channel *c) {
    struct talk *t = container_of(c, struct talk, channel);
    t->eofs++;
    hooked(t, "eof");
}

static void on_reset(struct channel *c, int err) {
    struct talk *t = container_of(c, struct talk, channel);
    EXPECT(!channel_attached(c));
    t->resets++;
    t->err = err;
    hooked(t, "reset");
}

const struct channel_ops talk_ops = {
    .opened = on_opened,
    .data = on_data,
    .datagram = on_datagram,
    .unreachable = on_unreachable,
    .room = on_room,
    .eof = on_eof,
    .reset = on_reset,
};

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    struct end *e = owner;
    e->opens++;
    if (e->on_open != NULL) {
        struct talk *t = e->on_open(e, o, err);
        return t != NULL ? &t->channel : NULL;
    }
    struct talk *t = talk_new(e, o->target);
    t->hook = e->hook;
    t->hoard = e->hoard;
    t->to_send = e->reply;
    if (t->to_send > 0) /* served at the end of the batch, when the mux has the channel */
        t->eof_after = true;
    channel_accept(&t->channel, &talk_ops, e->window);
    return &t->channel;
}

static void on_gone(void *owner, const struct fault *why) {
    struct end *e = owner;
    e->gone++;
    e->why = *why;
}

static void on_cut(void *owner, const struct fault *why) {
    struct end *e = owner;
    e->cuts++;
    e->why = *why;
}

struct end *end_new(struct loop *l, int fd, bool odd) {
    static const struct mux_ops ops = {.open = on_open, .gone = on_gone, .cut = on_cut};
    struct end *e = calloc(1, sizeof *e);
    e->loop = l;
    e->raw = -1;
    e->window = 256 * 1024;
    e->mux = mux_new(l, fd, odd, &ops, e, NULL);
    EXPECT(e->mux != NULL);
    return e;
}

struct end *end_kept(struct loop *l, int fd, bool odd) {
    struct end *e = end_new(l, fd, odd);
    EXPECT(mux_keep(e->mux, NULL) == 0);
    return e;
}

void end_free(struct end *e) {
    mux_free(e->mux);
    for (size_t i = 0; i < sizeof e->talks / sizeof *e->talks; i++) {
        if (e->talks[i] != NULL)
            talk_free(e->talks[i]);
    }
    if (e->raw >= 0)
        close(e->raw);
    free(e);
}

void pair_make(struct loop *l, struct end *ends[2]) {
    int fds[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    ends[0] = end_new(l, fds[0], true);
    ends[1] = end_new(l, fds[1], false);
}

struct end *pair_half(struct loop *l, bool odd) {
    int fds[2];
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    struct end *e = end_new(l, fds[0], odd);
    e->raw = fds[1];
    EXPECT(fcntl(e->raw, F_SETFL, O_NONBLOCK) == 0);
    return e;
}

struct runner {
    struct task task;
    struct loop *loop;
    bool (*done)(void *arg);
    void *arg;
};

static void turn(struct task *task) {
    struct runner *r = container_of(task, struct runner, task);
    if (r->done(r->arg))
        loop_stop(r->loop);
    else
        loop_defer(r->loop, task);
}

void run_until(struct loop *l, bool (*done)(void *arg), void *arg) {
    struct runner r = {.task.run = turn, .loop = l, .done = done, .arg = arg};
    loop_defer(l, &r.task);
    EXPECT(loop_run(l, NULL) == 0);
}

static bool count_down(void *arg) {
    int *turns = arg;
    return --*turns <= 0;
}

void run_turns(struct loop *l, int turns) {
    run_until(l, count_down, &turns);
}

void raw_write(struct end *e, const void *p, size_t n) {
    EXPECT(write(e->raw, p, n) == (ssize_t)n);
}

size_t raw_read(struct end *e, void *p, size_t capacity) {
    size_t got = 0;
    for (ssize_t n; got < capacity && (n = read(e->raw, (uint8_t *)p + got, capacity - got)) > 0;)
        got += (size_t)n;
    return got;
}
