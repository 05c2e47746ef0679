/* What the client is told besides the target's own octets. Frames are put in between two of the target's, never into a header
 * block; an app's DATA only as far as the client's connection window goes, and the rest of that app's frames behind it. */
#include "agent/gate/http2_inner.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE_UPDATE = 8 }; /* octets at most */

bool http2_control(struct http2 *h, uint8_t type, uint32_t stream, uint32_t value) {
    uint8_t frame[HTTP2_HEAD + 4];
    struct http2_frame f = {4, type, 0, stream};
    http2_frame_write(frame, &f);
    http2_put_u32(frame + HTTP2_HEAD, value);
    return http2_octets_add(&h->control, frame, sizeof frame);
}

static bool queue(struct http2_leg *leg, struct http2_stream *s, const void *p, size_t n) {
    if (!http2_octets_add(&leg->queue, p, n))
        return false;
    s->queued++;
    return true;
}

bool http2_queue_block(struct http2_leg *leg, struct http2_stream *s, const struct http2_fields *l,
                       bool ends) {
    struct http2_block like = {.stream = s->id, .flags = ends ? HTTP2_END_STREAM : 0};
    struct http2_written w;
    if (!http2_fields_write(l, leg->h->to_client, &like, SIZE_UPDATE, &w))
        return false;
    bool done = queue(leg, s, w.p, w.n);
    free(w.p);
    s->app_ended |= ends;
    return done;
}

bool http2_queue_data(struct http2_leg *leg, struct http2_stream *s, const uint8_t *p, size_t n,
                      bool ends) {
    uint8_t frame[HTTP2_HEAD + HTTP2_FRAME_MOST];
    do {
        size_t part = n < HTTP2_FRAME_MOST ? n : HTTP2_FRAME_MOST;
        bool last = ends && part == n;
        struct http2_frame f = {(uint32_t)part, HTTP2_DATA, last ? HTTP2_END_STREAM : 0, s->id};
        http2_frame_write(frame, &f);
        if (part > 0)
            memcpy(frame + HTTP2_HEAD, p, part);
        if (!queue(leg, s, frame, HTTP2_HEAD + part))
            return false;
        p += part;
        n -= part;
    } while (n > 0);
    s->app_ended |= ends;
    return true;
}

bool http2_queue_reset(struct http2_leg *leg, struct http2_stream *s, uint32_t code) {
    uint8_t frame[HTTP2_HEAD + 4];
    struct http2_frame f = {4, HTTP2_RST_STREAM, 0, s->id};
    http2_frame_write(frame, &f);
    http2_put_u32(frame + HTTP2_HEAD, code);
    s->app_ended = true;
    return queue(leg, s, frame, sizeof frame);
}

/* The first frame of an app's queue, with the CONTINUATIONs behind it. */
static size_t unit(const struct http2_octets *q) {
    size_t n = HTTP2_HEAD + http2_frame_read(q->p + q->from).length;
    while (n + HTTP2_HEAD <= q->n) {
        struct http2_frame f = http2_frame_read(q->p + q->from + n);
        if (f.type != HTTP2_CONTINUATION)
            break;
        n += HTTP2_HEAD + f.length;
    }
    return n;
}

static void drop(struct http2_leg *leg, size_t n, size_t data) {
    http2_octets_drop(&leg->queue, n);
    if (leg->old > 0)
        leg->old -= n;
    else if (data > 0)
        http2_leg_consumed(leg, data);
}

/* HPACK's integer with a prefix of 5 bits (RFC 7541 5.1, 6.3). */
static size_t size_update(uint32_t size, uint8_t p[SIZE_UPDATE]) {
    if (size == UINT32_MAX)
        return 0;
    if (size < 31) {
        p[0] = (uint8_t)(0x20 | size);
        return 1;
    }
    p[0] = 0x3f;
    size_t n = 1;
    for (size -= 31; size >= 128; size >>= 7)
        p[n++] = (uint8_t)(size | 128);
    p[n++] = (uint8_t)size;
    return n;
}

/* A block gets the size update that the client waits for only now: it may have been queued before the client's settings were
 * acknowledged. */
static void send_unit(struct http2 *h, const uint8_t *p, size_t n, struct http2_frame f) {
    uint8_t head[HTTP2_HEAD + SIZE_UPDATE];
    size_t more = f.type == HTTP2_HEADERS ? size_update(h->size_owed, head + HTTP2_HEAD) : 0;
    if (more > 0) {
        f.length += (uint32_t)more;
        http2_frame_write(head, &f);
        exchange_send(h->x, EXCHANGE_CLIENT, head, HTTP2_HEAD + more);
        p += HTTP2_HEAD;
        n -= HTTP2_HEAD;
    }
    if (n > 0)
        exchange_send(h->x, EXCHANGE_CLIENT, p, n);
}

/* False: nothing more of this leg's can go now. */
static bool pump_one(struct http2_leg *leg) {
    struct http2 *h = leg->h;
    if (leg->queue.n == 0 || exchange_full(h->x, EXCHANGE_CLIENT))
        return false;
    struct http2_frame f = http2_frame_read(leg->queue.p + leg->queue.from);
    struct http2_stream *s = http2_stream_find(h, f.stream);
    size_t data = f.type == HTTP2_DATA ? f.length : 0;
    size_t n = unit(&leg->queue);
    if (s == NULL) { /* the client wants it no more */
        drop(leg, n, data);
        return true;
    }
    if (data > 0 && (int64_t)data > h->room)
        return false;
    send_unit(h, leg->queue.p + leg->queue.from, n, f);
    h->apps_last |= f.type == HTTP2_DATA || f.type == HTTP2_HEADERS;
    h->room -= (int64_t)data;
    h->debt += data;
    s->queued--;
    drop(leg, n, data);
    http2_stream_done(h, s);
    return true;
}

static void repay(struct http2 *h) {
    if (h->repay > 0 && h->held < HTTP2_HELD) {
        http2_control(h, HTTP2_WINDOW_UPDATE, 0, h->repay);
        h->repay = 0;
    }
}

void http2_pump(struct http2 *h) {
    if (!h->taken || h->closing || h->x->kind != EXCHANGE_HTTP2)
        return;
    repay(h);
    if (!h->target_began || h->target_left > 0 || h->target_block)
        return;
    if (h->control.n > 0 && !exchange_full(h->x, EXCHANGE_CLIENT)) {
        exchange_send(h->x, EXCHANGE_CLIENT, h->control.p + h->control.from, h->control.n);
        http2_octets_drop(&h->control, h->control.n);
    }
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        while (pump_one(&h->leg[k]))
            ;
}
