/* The client's header blocks: whose a stream is; given to its app, or written for the target. They are read in both phases,
 * because the decoder has to follow the client's encoder. */
#include "agent/gate/http2_inner.h"
#include "agent/http/line.h"

#include <stdlib.h>
#include <string.h>

static bool targets_own(const struct http2 *h) {
    const struct exchange_ops *ops = h->x->ops;
    size_t path_n, agent_n;
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    const char *agent = http2_fields_find(&h->fields, "user-agent", &agent_n);
    return ops->targets_own != NULL && path != NULL && agent != NULL &&
           ops->targets_own(h->x->shell, path, path_n, agent, agent_n);
}

static int judge(struct http2 *h) {
    struct exchange_judge j = {0};
    if (targets_own(h))
        return EXCHANGE_TARGETS;
    size_t method_n, path_n;
    const char *method = http2_fields_find(&h->fields, ":method", &method_n);
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    method = method != NULL ? method : "";
    path = path != NULL ? path : "";
    exchange_judge_line(h->x, &j, method, method_n, path, path_n);
    for (size_t i = 0; i < h->fields.count; i++) {
        struct http2_header header;
        if (http2_fields_header(&h->fields, i, &header))
            exchange_judge_header(h->x, &j, header.name, header.name_n, header.value,
                                  header.value_n);
    }
    return exchange_judge_slot(h->x, &j, true);
}

static void seen(struct http2 *h, int slot) {
    char line[HTTP_LINE];
    size_t method_n, path_n;
    const char *method = http2_fields_find(&h->fields, ":method", &method_n);
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    exchange_seen(h->x, slot, line, http_line_made(line, method, method_n, path, path_n));
}

static bool begin_taking(struct http2 *h) {
    if (h->taken)
        return true;
    h->to_target = http2_deflater_new(true);
    h->to_client = http2_deflater_new(false);
    h->taken = h->to_target != NULL && h->to_client != NULL;
    if (!h->taken) {
        http2_deflater_free(h->to_target);
        http2_deflater_free(h->to_client);
        h->to_target = h->to_client = NULL;
    }
    return h->taken;
}

/* The stream that this block opens is the app's of that slot. */
static bool take(struct http2 *h, const struct http2_block *b, unsigned slot) {
    struct http2_leg *leg = &h->leg[slot];
    if (h->streams_n == HTTP2_STREAMS || !http2_leg_may(leg) || !begin_taking(h))
        return false;
    struct http2_stream *s = http2_stream_new(h, b->stream, slot);
    if (s == NULL)
        return false;
    s->client_ended = b->flags & HTTP2_END_STREAM;
    s->flags = b->flags;
    s->padding = b->padding;
    if (b->priority != NULL)
        memcpy(s->priority, b->priority, 5);
    if (http2_fields_copy(&s->fields, &h->fields) && http2_leg_open(leg, s))
        return true;
    http2_not_mine(h, s->id);
    http2_stream_free(h, s);
    return false;
}

static bool write_block(struct http2 *h, const struct http2_fields *l,
                        const struct http2_block *b) {
    struct http2_written w;
    if (!http2_fields_write(l, h->to_target, b, 0, &w))
        return false;
    http2_say_target(h, w.p, w.n);
    free(w.p);
    return true;
}

static void trailers(struct http2 *h, const struct http2_block *b) {
    struct http2_stream *s = http2_stream_find(h, b->stream);
    if (s == NULL || s->closed || s->client_ended)
        return;
    http2_fields_copy(&s->trailers, &h->fields);
    s->client_ended = true;
    http2_leg_more(&h->leg[s->slot], s);
}

enum http2_done http2_block(struct http2 *h, const uint8_t *p, size_t n, size_t *whole) {
    struct http2_block b;
    switch (http2_block_read(p, n, &b)) {
    case HTTP2_BLOCK_MORE:
        h->why = EXCHANGE_WHY_LONG;
        return n < EXCHANGE_HEAD ? HTTP2_DONE_WAIT : HTTP2_DONE_BROKEN;
    case HTTP2_BLOCK_BAD:
        return HTTP2_DONE_BROKEN;
    case HTTP2_BLOCK_WHOLE:
        break;
    }
    if (h->stuck)
        return HTTP2_DONE_WAIT; /* whose it is is not known before it is decoded, and that only once */
    if (!http2_fields_inflate(&h->fields, h->inflater, p, &b))
        return HTTP2_DONE_BROKEN;
    *whole = b.whole;
    if (http2_is_mine(h, b.stream)) {
        trailers(h, &b);
        return HTTP2_DONE_SELF;
    }
    if (b.stream > h->last_stream && b.stream % 2 == 1) {
        h->last_stream = b.stream;
        int slot = judge(h);
        bool taken = slot >= 0 && take(h, &b, (unsigned)slot);
        seen(h, taken ? slot : -1);
        if (taken)
            return HTTP2_DONE_SELF;
    }
    h->last_target = b.stream > h->last_target ? b.stream : h->last_target;
    if (!h->taken)
        return HTTP2_DONE_PASS;
    return write_block(h, &h->fields, &b) ? HTTP2_DONE_SELF : HTTP2_DONE_BROKEN;
}

static void write_body(struct http2 *h, struct http2_stream *s) {
    bool ends = s->client_ended && s->trailers.count == 0;
    while (s->body.n > 0 || (ends && !(s->flags & HTTP2_END_STREAM))) {
        size_t n = s->body.n < HTTP2_FRAME_MOST ? s->body.n : HTTP2_FRAME_MOST;
        bool last = ends && n == s->body.n;
        struct http2_frame f = {(uint32_t)n, HTTP2_DATA, last ? HTTP2_END_STREAM : 0, s->id};
        uint8_t head[HTTP2_HEAD];
        http2_frame_write(head, &f);
        http2_say_target(h, head, sizeof head);
        http2_say_target(h, s->body.p + s->body.from, n);
        http2_octets_drop(&s->body, n);
        h->held -= n;
        if (last)
            break;
    }
}

void http2_to_target(struct http2 *h, struct http2_stream *s) {
    struct http2_block b = {.stream = s->id, .flags = s->flags, .padding = s->padding};
    if (s->flags & HTTP2_HAS_PRIORITY)
        b.priority = s->priority;
    h->last_target = s->id;
    http2_not_mine(h, s->id);
    s->unpaid = 0; /* the target will repay it */
    write_block(h, &s->fields, &b);
    if (s->grant > 0) {
        uint8_t frame[HTTP2_HEAD + 4];
        struct http2_frame f = {4, HTTP2_WINDOW_UPDATE, 0, s->id};
        http2_frame_write(frame, &f);
        http2_put_u32(frame + HTTP2_HEAD, s->grant);
        http2_say_target(h, frame, sizeof frame);
    }
    write_body(h, s);
    if (s->trailers.count > 0) {
        b = (struct http2_block){.stream = s->id, .flags = HTTP2_END_STREAM};
        write_block(h, &s->trailers, &b);
    }
}
