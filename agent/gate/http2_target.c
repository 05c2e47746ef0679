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

/* Whether the frame whose head lies at p can go now. */
static bool frame(struct http2 *h, const uint8_t *p, size_t n) {
    struct http2_frame f = http2_frame_read(p);
    bool complete = n >= HTTP2_HEAD + (size_t)f.length;
    switch (f.type) {
    case HTTP2_DATA:
        if (h->debt > 0 && (int64_t)f.length > h->room)
            return false;
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

size_t http2_target(struct http2 *h, const uint8_t *p, size_t n) {
    size_t from = 0, at = 0;
    if (exchange_full(h->x, EXCHANGE_CLIENT))
        return 0;
    for (;;) {
        if (h->target_left > 0) {
            size_t part = h->target_left < n - at ? h->target_left : n - at;
            if (part == 0)
                break;
            h->target_left -= (uint32_t)part;
            at += part;
            continue;
        }
        if (h->taken && !h->target_block && waits(h)) {
            if (at > from)
                h->x->ops->send(h->x->shell, EXCHANGE_CLIENT, p + from, at - from);
            from = at;
            http2_pump(h);
        }
        if (n - at < HTTP2_HEAD || !frame(h, p + at, n - at))
            break;
        at += HTTP2_HEAD;
    }
    if (at > from)
        h->x->ops->send(h->x->shell, EXCHANGE_CLIENT, p + from, at - from);
    return at;
}
