/* The client's frames. What goes to the target as it came is sent in one piece, as far as it reaches; header blocks are read in
 * both phases, because the decoder has to follow the client's encoder. */
#include "agent/gate/http2_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum done {
    DONE_PASS, /* the frame's head is to be passed, and `left` octets behind it */
    DONE_SELF, /* octets were taken, and dealt with */
    DONE_WAIT,
    DONE_BROKEN, /* it cannot be understood: `why` */
};

static void to_target(struct http2 *h, const uint8_t *p, size_t n) {
    if (n > 0)
        h->x->ops->send(h->x->shell, EXCHANGE_TARGET, p, n);
}

/* --- header blocks --------------------------------------------------------------------------------------------------- */

static int judge(struct http2 *h) {
    struct exchange_judge j = {0};
    size_t method_n, path_n;
    const char *method = http2_fields_find(&h->fields, ":method", &method_n);
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    method = method != NULL ? method : "";
    path = path != NULL ? path : "";
    exchange_judge_line(h->x, &j, method, method_n, path, path_n);
    for (size_t i = 0; i < h->fields.count; i++) {
        const struct http2_field *f = &h->fields.field[i];
        const char *name = (const char *)h->fields.octets + f->name_at;
        if (f->name_n > 0 && name[0] != ':')
            exchange_judge_header(h->x, &j, name, f->name_n,
                                  (const char *)h->fields.octets + f->value_at, f->value_n);
    }
    return exchange_judge_slot(h->x, &j, true);
}

static void seen(struct http2 *h, int slot) {
    char line[EXCHANGE_LINE + 1];
    size_t method_n, path_n;
    const char *method = http2_fields_find(&h->fields, ":method", &method_n);
    const char *path = http2_fields_find(&h->fields, ":path", &path_n);
    int n = snprintf(line, sizeof line, "%.*s %.*s HTTP/2", (int)method_n, method ? method : "",
                     (int)(path_n < sizeof line ? path_n : sizeof line), path ? path : "");
    size_t length = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : sizeof line - 1;
    exchange_seen(h->x, slot, line, length);
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
    if (!http2_fields_write(l, h->to_target, b, NULL, 0, &w))
        return false;
    to_target(h, w.p, w.n);
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

static enum done block(struct http2 *h, const uint8_t *p, size_t n, size_t *whole) {
    struct http2_block b;
    switch (http2_block_read(p, n, &b)) {
    case HTTP2_BLOCK_MORE:
        h->why = EXCHANGE_WHY_LONG;
        return n < EXCHANGE_HEAD ? DONE_WAIT : DONE_BROKEN;
    case HTTP2_BLOCK_BAD:
        return DONE_BROKEN;
    case HTTP2_BLOCK_WHOLE:
        break;
    }
    if (h->stuck)
        return DONE_WAIT; /* whose it is is not known before it is decoded, and that only once */
    if (!http2_fields_inflate(&h->fields, h->inflater, p, &b))
        return DONE_BROKEN;
    *whole = b.whole;
    if (http2_is_mine(h, b.stream)) {
        trailers(h, &b);
        return DONE_SELF;
    }
    if (b.stream > h->last_stream && b.stream % 2 == 1) {
        h->last_stream = b.stream;
        int slot = judge(h);
        bool taken = slot >= 0 && take(h, &b, (unsigned)slot);
        seen(h, taken ? slot : -1);
        if (taken)
            return DONE_SELF;
    }
    h->last_target = b.stream > h->last_target ? b.stream : h->last_target;
    if (!h->taken)
        return DONE_PASS;
    return write_block(h, &h->fields, &b) ? DONE_SELF : DONE_BROKEN;
}

static void write_body(struct http2 *h, struct http2_stream *s) {
    bool ends = s->client_ended && s->trailers.count == 0;
    while (s->body.n > 0 || (ends && !(s->flags & HTTP2_END_STREAM))) {
        size_t n = s->body.n < HTTP2_FRAME_MOST ? s->body.n : HTTP2_FRAME_MOST;
        bool last = ends && n == s->body.n;
        struct http2_frame f = {(uint32_t)n, HTTP2_DATA, last ? HTTP2_END_STREAM : 0, s->id};
        uint8_t head[HTTP2_HEAD];
        http2_frame_write(head, &f);
        to_target(h, head, sizeof head);
        to_target(h, s->body.p + s->body.from, n);
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
        to_target(h, frame, sizeof frame);
    }
    write_body(h, s);
    if (s->trailers.count > 0) {
        b = (struct http2_block){.stream = s->id, .flags = HTTP2_END_STREAM};
        write_block(h, &s->trailers, &b);
    }
}

/* --- bodies of taken streams ----------------------------------------------------------------------------------------- */

void http2_took(struct http2 *h, struct http2_stream *s, size_t n) {
    if (n == 0 || s->client_ended || s->closed)
        return;
    s->window += (int64_t)n;
    http2_control(h, HTTP2_WINDOW_UPDATE, s->id, (uint32_t)n);
}

static void abandon(struct http2 *h, struct http2_stream *s, uint32_t code) {
    struct http2_leg *leg = &h->leg[s->slot];
    http2_leg_cancel(leg, s, code);
    http2_control(h, HTTP2_RST_STREAM, s->id, code);
    http2_stream_free(h, s);
}

static void body_end(struct http2 *h) {
    struct http2_stream *s = http2_stream_find(h, h->stream);
    if (s == NULL || s->closed)
        return;
    if (h->body_ends)
        s->client_ended = true;
    else if (h->body_padding > 0)
        http2_took(h, s, (size_t)h->body_padding + 1);
    http2_leg_more(&h->leg[s->slot], s);
}

static void body_begin(struct http2 *h, const struct http2_frame *f) {
    h->what = HTTP2_BODY;
    h->stream = f->stream;
    h->body_padded = f->flags & HTTP2_PADDED;
    h->body_ends = f->flags & HTTP2_END_STREAM;
    h->body_padding = 0;
    struct http2_stream *s = http2_stream_find(h, f->stream);
    if (s != NULL && !s->closed) {
        s->window -= f->length;
        if (s->window < 0)
            abandon(h, s, HTTP2_FLOW_CONTROL_ERROR);
    }
    if (f->length == 0)
        body_end(h);
}

/* n octets of its payload, of which `left` were still to come. */
static void body(struct http2 *h, const uint8_t *p, size_t n) {
    struct http2_stream *s = http2_stream_find(h, h->stream);
    bool dead = s == NULL || s->closed;
    if (!dead && h->leg[s->slot].state != HTTP2_LEG_UP)
        s->unpaid += (uint32_t)n;
    else
        h->repay += (uint32_t)n;
    size_t left = h->left;
    if (h->body_padded) {
        h->body_padding = p[0];
        h->body_padded = false;
        p++, n--, left--;
    }
    size_t data = left > h->body_padding ? left - h->body_padding : 0;
    data = data < n ? data : n;
    if (dead || data == 0)
        return;
    if (http2_octets_add(&s->body, p, data))
        h->held += data;
    else
        abandon(h, s, HTTP2_INTERNAL_ERROR);
}

/* --- frames ---------------------------------------------------------------------------------------------------------- */

static void settings(struct http2 *h, const uint8_t *p, size_t n) {
    uint32_t size = UINT32_MAX;
    for (size_t at = 0; at + 6 <= n; at += 6) {
        uint32_t value = http2_u32(p + at + 2);
        unsigned id = (unsigned)(p[at] << 8 | p[at + 1]);
        if (id == HTTP2_SET_TABLE)
            size = value < size ? value : size;
        if (id != HTTP2_SET_WINDOW || value > INT32_MAX)
            continue;
        h->client_window = value;
        for (unsigned k = 0; k < EXCHANGE_APPS; k++)
            http2_leg_window(&h->leg[k], value);
    }
    h->overrun |= h->sizes_n == HTTP2_SETTINGS_OPEN;
    if (!h->overrun)
        h->sizes[h->sizes_n++] = size;
}

/* The client has acknowledged the oldest of the target's settings: its encoder goes by them now. */
static void settings_acknowledged(struct http2 *h) {
    if (h->tables_n == 0)
        return;
    if (h->tables[0] != UINT32_MAX)
        nghttp2_hd_inflate_change_table_size(h->inflater, h->tables[0]);
    h->tables_n--;
    memmove(h->tables, h->tables + 1, h->tables_n * sizeof *h->tables);
}

/* A frame of four or five octets about a taken stream. */
static void about(struct http2 *h, const struct http2_frame *f, const uint8_t *p) {
    struct http2_stream *s = http2_stream_find(h, f->stream);
    if (s == NULL)
        return;
    struct http2_leg *leg = &h->leg[s->slot];
    uint32_t value = http2_u32(p);
    if (f->type == HTTP2_RST_STREAM && f->length == 4) {
        http2_leg_cancel(leg, s, value);
        http2_stream_free(h, s);
    } else if (f->type == HTTP2_WINDOW_UPDATE && f->length == 4 && !s->closed) {
        http2_leg_grant(leg, s, value & 0x7fffffff);
    } else if (f->type == HTTP2_PRIORITY && f->length == 5 && !s->closed && leg->session != NULL) {
        nghttp2_priority_spec spec;
        nghttp2_priority_spec_init(&spec, (int32_t)(value & 0x7fffffff), p[4] + 1,
                                   (int)(value >> 31));
        nghttp2_submit_priority(leg->session, 0, (int32_t)s->id, &spec);
    }
}

/* The connection's window grows: what apps used of it is paid first. */
static enum done window(struct http2 *h, const uint8_t *p, size_t *whole) {
    uint32_t n = http2_u32(p + HTTP2_HEAD) & 0x7fffffff;
    h->room += n;
    uint32_t paid = h->debt < n ? (uint32_t)h->debt : n;
    if (paid == 0)
        return DONE_PASS;
    h->debt -= paid;
    *whole = HTTP2_HEAD + 4;
    if (paid < n) {
        uint8_t frame[HTTP2_HEAD + 4];
        memcpy(frame, p, HTTP2_HEAD);
        http2_put_u32(frame + HTTP2_HEAD, n - paid);
        to_target(h, frame, sizeof frame);
    }
    return DONE_SELF;
}

/* About a stream that the target does not know. */
static enum done mine(struct http2 *h, const struct http2_frame *f, const uint8_t *p, size_t n,
                      size_t *whole) {
    h->left = f->length;
    *whole = HTTP2_HEAD;
    h->what = HTTP2_DROP;
    if (f->type == HTTP2_DATA) {
        body_begin(h, f);
    } else if (f->length == 4 || f->length == 5) {
        h->left = 0;
        *whole = HTTP2_HEAD + f->length;
        if (n < *whole)
            return DONE_WAIT;
        about(h, f, p + HTTP2_HEAD);
    }
    return DONE_SELF;
}

static enum done frame(struct http2 *h, const uint8_t *p, size_t n, size_t *whole) {
    struct http2_frame f = http2_frame_read(p);
    bool complete = n >= HTTP2_HEAD + (size_t)f.length;
    h->why = EXCHANGE_WHY_MALFORMED;
    if (f.type == HTTP2_CONTINUATION || f.type == HTTP2_PUSH_PROMISE || h->overrun)
        return DONE_BROKEN;
    if (f.type == HTTP2_HEADERS)
        return block(h, p, n, whole);
    if (f.stream != 0 && http2_is_mine(h, f.stream))
        return mine(h, &f, p, n, whole);
    if (h->stuck)
        return DONE_WAIT;
    *whole = HTTP2_HEAD;
    h->what = HTTP2_PASS;
    if (f.type == HTTP2_WINDOW_UPDATE && f.stream == 0 && f.length == 4) {
        enum done is = complete ? window(h, p, whole) : DONE_WAIT;
        h->left = is == DONE_PASS ? f.length : 0;
        return is;
    }
    if (f.type == HTTP2_SETTINGS && (f.flags & HTTP2_ACK))
        settings_acknowledged(h);
    else if (f.type == HTTP2_SETTINGS && !complete && n < EXCHANGE_HEAD)
        return DONE_WAIT;
    else if (f.type == HTTP2_SETTINGS && complete)
        settings(h, p + HTTP2_HEAD, f.length);
    h->left = f.length;
    return DONE_PASS;
}

/* A part of the present frame's payload; false: it has to wait. */
static bool payload(struct http2 *h, const uint8_t *p, size_t n) {
    if (h->what == HTTP2_PASS && h->stuck)
        return false;
    if (h->what == HTTP2_BODY)
        body(h, p, n);
    h->left -= (uint32_t)n;
    if (h->what == HTTP2_BODY && h->left == 0)
        body_end(h);
    return true;
}

static void give_away(struct http2 *h) {
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        if (h->leg[k].refused)
            http2_leg_refused(&h->leg[k]);
}

/* Whether the client has begun as HTTP/2 does; the target may have spoken before it. */
static enum done preface(struct http2 *h, const uint8_t *p, size_t n) {
    size_t have = n < HTTP2_PREFACE_N ? n : HTTP2_PREFACE_N;
    h->why = EXCHANGE_WHY_NOT_HTTP;
    if (memcmp(p, HTTP2_PREFACE, have) != 0)
        return DONE_BROKEN;
    h->preface = have == HTTP2_PREFACE_N;
    return h->preface ? DONE_PASS : DONE_WAIT;
}

static enum done next(struct http2 *h, const uint8_t *p, size_t n, size_t *part) {
    if (h->left > 0) {
        *part = h->left < n ? h->left : n;
        bool pass = h->what == HTTP2_PASS;
        if (*part == 0 || !payload(h, p, *part))
            return DONE_WAIT;
        return pass ? DONE_PASS : DONE_SELF;
    }
    if (!h->preface) {
        *part = HTTP2_PREFACE_N;
        return n == 0 || h->stuck ? DONE_WAIT : preface(h, p, n);
    }
    return n < HTTP2_HEAD ? DONE_WAIT : frame(h, p, n, part);
}

size_t http2_client(struct http2 *h, const uint8_t *p, size_t n) {
    size_t from = 0, at = 0; /* what lies between goes to the target as it is */
    enum done is = DONE_PASS;
    h->stuck = exchange_full(h->x, EXCHANGE_TARGET);
    if (h->control.n >= HTTP2_CONTROL)
        return 0;
    while (is == DONE_PASS || is == DONE_SELF) {
        size_t part = 0;
        if (h->taken && h->left == 0) { /* the frame may be followed by octets of ours */
            to_target(h, p + from, at - from);
            from = at;
            give_away(h);
        }
        size_t until = at;
        is = next(h, p + at, n - at, &part);
        if (is == DONE_PASS || is == DONE_SELF)
            at += part;
        if (is != DONE_PASS) {
            to_target(h, p + from, until - from);
            from = at;
        }
    }
    if (is == DONE_BROKEN)
        http2_broken(h, h->why);
    return at;
}
