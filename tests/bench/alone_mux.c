/* mux.h with nobody behind it: the far end of every channel is here, in the same process, and costs nearly nothing. With it in
 * the place of native/mux*.c the bridge's stack is measured alone: app, kernel, tun0, lwIP, and no link, no agent, no server.
 *
 * What a channel's far end does is told by the port the app connected to, as in load.c: BASE echo, BASE+1 answer and close,
 * BASE+2 take all and say how much, BASE+3 send without end. Octets that are sent to the app are what the app expects of each,
 * not what it sent: load.c looks at their number alone.
 */
#include "native/mux.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    BASE = 5201,
    ECHO = BASE,
    ONCE,
    SINK,
    SOURCE,
    LAST = 1,
    CREDIT = 1024 * 1024,
    CHUNK = 65536,
    TURNS = 4
};

struct mux {
    struct loop *loop;
    const struct mux_ops *ops;
    void *owner;
    struct task pump;
    struct end *first;
    int fd;
    uint32_t channels;
};

struct end {
    struct channel *channel;
    struct end *next; /* of those that have something to do */
    bool queued, opened, eof_told, eof_heard;
    uint16_t port;
    uint64_t taken, pending;
};

static uint8_t octets[CHUNK];

static struct end *end_of(const struct channel *c) {
    return (struct end *)(void *)c->hash_next;
}

static void queue(struct channel *c) {
    struct end *e = end_of(c);
    if (e->queued)
        return;
    e->queued = true;
    e->next = c->mux->first;
    c->mux->first = e;
    loop_defer(c->mux->loop, &c->mux->pump);
}

static void forget(struct channel *c) {
    struct end *e = end_of(c);
    c->mux->channels--;
    c->mux = NULL;
    c->hash_next = NULL;
    e->channel = NULL;
    if (!e->queued)
        free(e);
}

static void tell_eof(struct end *e) {
    struct channel *c = e->channel;
    e->eof_told = true;
    c->ops->eof(c);
    if (e->channel && e->eof_heard)
        forget(c);
}

static bool wants_eof(const struct end *e) {
    return !e->eof_told && e->pending == 0 && (e->eof_heard || (e->port == ONCE && e->taken > 0));
}

/* One turn of one channel; true: it has more to do. */
static bool serve(struct end *e) {
    struct channel *c = e->channel;
    if (!e->opened) {
        e->opened = true;
        c->ops->opened(c);
    }
    for (int i = 0; i < TURNS && e->channel && c->window > 0; i++) {
        size_t n = e->port == SOURCE ? CHUNK : e->pending < CHUNK ? (size_t)e->pending : CHUNK;
        if (n > (uint64_t)c->window)
            n = (size_t)c->window;
        if (n == 0)
            break;
        c->window -= (int64_t)n;
        if (e->port != SOURCE)
            e->pending -= n;
        if (e->port == SINK) {
            uint64_t total = htobe64(e->taken);
            c->ops->data(c, (const uint8_t *)&total, sizeof total);
        } else {
            c->ops->data(c, octets, n);
        }
    }
    if (e->channel && wants_eof(e))
        tell_eof(e);
    return e->channel && ((c->window > 0 && (e->port == SOURCE || e->pending > 0)) || wants_eof(e));
}

static void pump(struct task *self) {
    struct mux *m = (struct mux *)((char *)self - offsetof(struct mux, pump));
    struct end *e = m->first;
    m->first = NULL;
    while (e) {
        struct end *next = e->next;
        bool more = e->channel && serve(e); /* still marked as queued: nothing frees it meanwhile */
        e->queued = false;
        if (more)
            queue(e->channel);
        else if (!e->channel)
            free(e);
        e = next;
    }
}

struct mux *mux_new(struct loop *l, int fd, bool odd, const struct mux_ops *ops, void *owner,
                    struct fault *f) {
    (void)odd;
    (void)f;
    struct mux *m = calloc(1, sizeof *m);
    if (!m)
        abort();
    *m = (struct mux){.loop = l, .ops = ops, .owner = owner, .pump.run = pump, .fd = fd};
    return m;
}

void mux_free(struct mux *m) {
    loop_undefer(m->loop, &m->pump);
    close(m->fd);
    free(m);
}

int mux_keep(struct mux *m, struct fault *f) {
    (void)m;
    return fault_set(f, ENOTSUP, "nobody is there to keep anything for");
}

void mux_wide(int fd) {
    (void)fd;
}

uint64_t mux_cut(struct mux *m) {
    (void)m;
    return 0;
}

int mux_resume(struct mux *m, int fd, uint64_t received, struct fault *f) {
    (void)m, (void)received;
    close(fd);
    return fault_set(f, ENOTSUP, "nobody is there to resume with");
}

bool mux_opens(const struct mux *m) {
    (void)m;
    return true;
}

uint32_t mux_window(const struct mux *m, uint32_t usual) {
    (void)m;
    return usual;
}

uint32_t mux_channels(const struct mux *m) {
    return m->channels;
}

uint64_t mux_datagrams_dropped(const struct mux *m) {
    (void)m;
    return 0;
}

void channel_open(struct mux *m, struct channel *c, const struct channel_ops *ops,
                  const struct channel_open *o) {
    struct end *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    e->channel = c;
    e->port = o->destination.port;
    *c = (struct channel){.ops = ops, .mux = m, .credit = CREDIT, .window = o->window};
    c->hash_next = (struct channel *)(void *)e;
    m->channels++;
    queue(c);
}

void channel_accept(struct channel *c, const struct channel_ops *ops, uint32_t window) {
    (void)c;
    (void)ops;
    (void)window;
    abort(); /* nobody here opens a channel towards the app */
}

size_t channel_room(const struct channel *c) {
    return c->mux ? CREDIT : 0;
}

void channel_want_room(struct channel *c) {
    if (c->mux)
        c->ops->room(c);
}

static void take(struct channel *c, const uint8_t *p, size_t n) {
    struct end *e = end_of(c);
    e->taken += n;
    if (e->port == ECHO || e->port == ONCE)
        e->pending += n;
    else if (e->port == SINK && p[n - 1] == LAST)
        e->pending = sizeof(uint64_t);
    if (e->pending)
        queue(c);
}

void channel_send(struct channel *c, const void *p, size_t n) {
    if (c->mux && n)
        take(c, p, n);
}

void channel_sendv(struct channel *c, const struct iovec *iov, int count) {
    for (int i = 0; i < count; i++)
        channel_send(c, iov[i].iov_base, iov[i].iov_len);
}

void channel_grant(struct channel *c, size_t n) {
    if (!c->mux)
        return;
    c->window += (int64_t)n;
    if (end_of(c)->port == SOURCE || end_of(c)->pending)
        queue(c);
}

void channel_eof(struct channel *c) {
    if (!c->mux)
        return;
    struct end *e = end_of(c);
    e->eof_heard = true;
    if (e->eof_told)
        forget(c);
    else
        queue(c);
}

void channel_reset(struct channel *c, int err) {
    (void)err;
    if (c->mux)
        forget(c);
}

bool channel_attached(const struct channel *c) {
    return c->mux != NULL;
}

bool channel_datagram(struct channel *c, const struct endpoint *peer, const void *p, size_t n) {
    (void)c;
    (void)peer;
    (void)p;
    (void)n;
    return false;
}

void channel_unreachable(struct channel *c, const struct endpoint *peer, int err) {
    (void)c;
    (void)peer;
    (void)err;
}
