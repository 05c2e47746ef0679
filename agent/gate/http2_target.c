/* The target's frames: they go to the client as they are. Followed for where one ends, so that others can be put between; for
 * what is set; and for the client's window, which the target may not have to itself. */
#include "agent/gate/http2_inner.h"

#include <string.h>

static void settings(struct http2 *h, const uint8_t *p, size_t n) {
    uint32_t table = UINT32_MAX;
    for (size_t at = 0; at + 6 <= n; at += 6) {
        uint32_t value = http2_u32(p + at + 2);
        unsigned id = (unsigned)(p[at] << 8 | p[at + 1]);
        if (id == HTTP2_SET_TABLE)
            table = value;
        if (id != HTTP2_SET_WINDOW || value > INT32_MAX)
            continue;
        if (value <= h->target_window)
            continue; /* what the client sent before it knew is no fault: this is only our bound */
        for (size_t i = 0; i < h->streams_n; i++)
            h->streams[i]->window += (int64_t)value - h->target_window;
        h->target_window = value;
    }
    h->overrun |= h->tables_n == HTTP2_SETTINGS_OPEN;
    if (!h->overrun)
        h->tables[h->tables_n++] = table;
}

/* The target has applied the oldest of the client's settings. A table that became smaller has to be confirmed by the next block
 * that the client gets (RFC 7541 4.2), and that may be an app's. */
static void settings_acknowledged(struct http2 *h) {
    if (h->sizes_n == 0)
        return;
    uint32_t size = h->sizes[0];
    h->sizes_n--;
    memmove(h->sizes, h->sizes + 1, h->sizes_n * sizeof *h->sizes);
    if (size == UINT32_MAX)
        return;
    if (size < h->size && size < h->size_owed)
        h->size_owed = size;
    h->size = size;
}

/* The target thinks of the client's window what it was without apps. A frame may be as large as that, and a client need not
 * grant anything before half of its window is used: to wait until it fits could be to wait for ever. One with padding is
 * waited with, since its parts would not add up to what the target has counted. */
static bool cut(struct http2 *h, const struct http2_frame *f) {
    if (f->flags & HTTP2_PADDED)
        return false;
    h->cut = *f;
    h->target_left = 0;
    return true;
}

/* The next part of it, as a frame of its own. */
static bool next_part(struct http2 *h) {
    struct http2_frame part = h->cut;
    uint8_t head[HTTP2_HEAD];
    if (h->room <= 0)
        return false;
    if ((int64_t)part.length > h->room) {
        part.length = (uint32_t)h->room;
        part.flags &= (uint8_t)~HTTP2_END_STREAM;
    }
    h->room -= part.length;
    h->cut.length -= part.length;
    h->target_left = part.length;
    http2_frame_write(head, &part);
    exchange_send(h->x, EXCHANGE_CLIENT, head, sizeof head);
    return true;
}

/* Whether the frame whose head lies at p can go now; with `cut`, its payload alone. */
static bool frame(struct http2 *h, const uint8_t *p, size_t n) {
    struct http2_frame f = http2_frame_read(p);
    bool complete = n >= HTTP2_HEAD + (size_t)f.length;
    switch (f.type) {
    case HTTP2_DATA:
        if (h->debt > 0 && (int64_t)f.length > h->room)
            return cut(h, &f);
        h->room -= f.length;
        break;
    case HTTP2_SETTINGS:
        if (f.flags & HTTP2_ACK)
            settings_acknowledged(h);
        else if (complete)
            settings(h, p + HTTP2_HEAD, f.length);
        else if (n < EXCHANGE_HEAD)
            return false;
        break;
    case HTTP2_HEADERS:
    case HTTP2_PUSH_PROMISE:
        h->size_owed = UINT32_MAX; /* the target's own block says it */
        h->target_block = !(f.flags & HTTP2_END_HEADERS);
        break;
    case HTTP2_CONTINUATION:
        h->target_block = !(f.flags & HTTP2_END_HEADERS);
        break;
    default:
        break;
    }
    h->apps_last &= f.type != HTTP2_DATA && f.type != HTTP2_HEADERS;
    h->target_began = true;
    h->target_left = f.length;
    return true;
}

static bool waits(const struct http2 *h) {
    bool any = h->control.n > 0;
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        any |= h->leg[k].queue.n > 0;
    return any;
}

static void flush(struct http2 *h, const uint8_t *p, size_t *from, size_t at) {
    if (at > *from)
        exchange_send(h->x, EXCHANGE_CLIENT, p + *from, at - *from);
    *from = at;
}

/* Between two frames. False: nothing more can go now. */
static bool next(struct http2 *h, const uint8_t *p, size_t n, size_t *from, size_t *at) {
    if (h->taken && !h->target_block && waits(h)) {
        flush(h, p, from, *at);
        http2_pump(h);
    }
    if (h->cut.length > 0)
        return next_part(h);
    if (n - *at < HTTP2_HEAD || !frame(h, p + *at, n - *at))
        return false;
    if (h->cut.length > 0) { /* its head is not passed */
        flush(h, p, from, *at);
        *from += HTTP2_HEAD;
    }
    *at += HTTP2_HEAD;
    return true;
}

size_t http2_target(struct http2 *h, const uint8_t *p, size_t n) {
    size_t from = 0, at = 0;
    if (exchange_full(h->x, EXCHANGE_CLIENT))
        return 0;
    do {
        size_t part = h->target_left < n - at ? h->target_left : n - at;
        h->target_left -= (uint32_t)part;
        at += part;
        if (h->target_left > 0)
            break;
        if (h->cut.length > 0)
            flush(h, p, &from, at); /* a head of ours comes next */
    } while (next(h, p, n, &from, &at));
    flush(h, p, &from, at);
    return at;
}
