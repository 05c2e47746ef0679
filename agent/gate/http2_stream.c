/* Taken streams, in the order of their numbers (a client only ever opens higher ones), and octets that wait. */
#include "agent/gate/http2_inner.h"

#include <stdlib.h>
#include <string.h>

bool http2_octets_add(struct http2_octets *o, const void *p, size_t n) {
    if (o->n == 0)
        o->from = 0;
    if (o->from + o->n + n > o->room && o->from > 0) {
        memmove(o->p, o->p + o->from, o->n);
        o->from = 0;
    }
    if (o->n + n > o->room) {
        size_t room = (o->n + n) * 2;
        uint8_t *more = realloc(o->p, room);
        if (more == NULL)
            return false;
        o->p = more;
        o->room = room;
    }
    if (n > 0)
        memcpy(o->p + o->from + o->n, p, n);
    o->n += n;
    return true;
}

void http2_octets_drop(struct http2_octets *o, size_t n) {
    o->from += n;
    o->n -= n;
    if (o->n == 0 && o->room > HTTP2_FRAME_MOST)
        http2_octets_free(o); /* a burst's memory is not kept */
}

void http2_octets_free(struct http2_octets *o) {
    free(o->p);
    memset(o, 0, sizeof *o);
}

static size_t place(const struct http2 *h, uint32_t id) {
    size_t low = 0, high = h->streams_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->streams[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct http2_stream *http2_stream_find(const struct http2 *h, uint32_t id) {
    size_t at = place(h, id);
    return at < h->streams_n && h->streams[at]->id == id ? h->streams[at] : NULL;
}

static size_t mine_place(const struct http2 *h, uint32_t id) {
    size_t low = 0, high = h->mine_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (h->mine[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool http2_is_mine(const struct http2 *h, uint32_t id) {
    size_t at = mine_place(h, id);
    return at < h->mine_n && h->mine[at] == id;
}

void http2_not_mine(struct http2 *h, uint32_t id) {
    size_t at = mine_place(h, id);
    if (at == h->mine_n || h->mine[at] != id)
        return;
    h->mine_n--;
    memmove(h->mine + at, h->mine + at + 1, (h->mine_n - at) * sizeof *h->mine);
}

static bool remember(struct http2 *h, uint32_t id) {
    if (h->mine == NULL)
        h->mine = malloc(HTTP2_MINE * sizeof *h->mine);
    if (h->mine == NULL)
        return false;
    if (h->mine_n == HTTP2_MINE) { /* of streams that ended long ago nobody speaks */
        h->mine_n /= 2;
        memmove(h->mine, h->mine + h->mine_n, h->mine_n * sizeof *h->mine);
    }
    h->mine[h->mine_n++] = id;
    return true;
}

struct http2_stream *http2_stream_new(struct http2 *h, uint32_t id, unsigned slot) {
    if (h->streams_n == h->streams_room) {
        size_t room = h->streams_room ? h->streams_room * 2 : 8;
        struct http2_stream **more = realloc(h->streams, room * sizeof *more);
        if (more == NULL)
            return NULL;
        h->streams = more;
        h->streams_room = room;
    }
    struct http2_stream *s = calloc(1, sizeof *s);
    if (s == NULL || !remember(h, id)) {
        free(s);
        return NULL;
    }
    s->id = id;
    s->slot = (uint8_t)slot;
    s->window = h->target_window;
    h->streams[h->streams_n++] = s;
    return s;
}

void http2_stream_free(struct http2 *h, struct http2_stream *s) {
    size_t at = place(h, s->id);
    memmove(h->streams + at, h->streams + at + 1, (h->streams_n - at - 1) * sizeof *h->streams);
    h->streams_n--;
    h->held -= s->body.n;
    h->repay += s->unpaid;
    http2_octets_free(&s->body);
    http2_fields_free(&s->fields);
    http2_fields_free(&s->trailers);
    free(s);
}

void http2_stream_done(struct http2 *h, struct http2_stream *s) {
    if (s->closed && s->queued == 0)
        http2_stream_free(h, s);
}
