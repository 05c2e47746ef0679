/* The client's frames. What goes to the target as it came is sent in one piece, as far as it reaches. */
#include "agent/gate/http2_inner.h"

#include <string.h>

void http2_say_target(struct http2 *h, const uint8_t *p, size_t n) {
    if (n > 0)
        exchange_send(h->x, EXCHANGE_TARGET, p, n);
}

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
static enum http2_done window(struct http2 *h, const uint8_t *p, size_t *whole) {
    uint32_t n = http2_u32(p + HTTP2_HEAD) & 0x7fffffff;
    h->room += n;
    uint32_t paid = h->debt < n ? (uint32_t)h->debt : n;
    if (paid == 0)
        return HTTP2_DONE_PASS;
    h->debt -= paid;
    *whole = HTTP2_HEAD + 4;
    if (paid < n) {
        uint8_t frame[HTTP2_HEAD + 4];
        memcpy(frame, p, HTTP2_HEAD);
        http2_put_u32(frame + HTTP2_HEAD, n - paid);
        http2_say_target(h, frame, sizeof frame);
    }
    return HTTP2_DONE_SELF;
}

/* About a stream that the target does not know. */
static enum http2_done mine(struct http2 *h, const struct http2_frame *f, const uint8_t *p,
                            size_t n, size_t *whole) {
    h->left = f->length;
    *whole = HTTP2_HEAD;
    h->what = HTTP2_DROP;
    if (f->type == HTTP2_DATA) {
        http2_body_begin(h, f);
    } else if (f->length == 4 || f->length == 5) {
        h->left = 0;
        *whole = HTTP2_HEAD + f->length;
        if (n < *whole)
            return HTTP2_DONE_WAIT;
        about(h, f, p + HTTP2_HEAD);
    }
    return HTTP2_DONE_SELF;
}

/* A client of gRPC measures by a ping what it has just been sent (its BDP probe), and a server of gRPC that has sent nothing
 * since the last ones ends the connection (ENHANCE_YOUR_CALM, "too_many_pings"). So one that an app's octets brought about is
 * answered here. */
static enum http2_done ping(struct http2 *h, const uint8_t *p, size_t n, size_t *whole) {
    uint8_t ack[HTTP2_HEAD + HTTP2_PING_N];
    struct http2_frame f = {HTTP2_PING_N, HTTP2_PING, HTTP2_ACK, 0};
    if (n < sizeof ack)
        return HTTP2_DONE_WAIT;
    http2_frame_write(ack, &f);
    memcpy(ack + HTTP2_HEAD, p + HTTP2_HEAD, HTTP2_PING_N);
    http2_octets_add(&h->control, ack, sizeof ack);
    *whole = sizeof ack;
    return HTTP2_DONE_SELF;
}

static enum http2_done frame(struct http2 *h, const uint8_t *p, size_t n, size_t *whole) {
    struct http2_frame f = http2_frame_read(p);
    bool complete = n >= HTTP2_HEAD + (size_t)f.length;
    h->why = EXCHANGE_WHY_MALFORMED;
    if (f.type == HTTP2_CONTINUATION || f.type == HTTP2_PUSH_PROMISE || h->overrun)
        return HTTP2_DONE_BROKEN;
    if (f.type == HTTP2_HEADERS)
        return http2_block(h, p, n, whole);
    if (f.stream != 0 && http2_is_mine(h, f.stream))
        return mine(h, &f, p, n, whole);
    if (f.type == HTTP2_PING && f.length == HTTP2_PING_N && !(f.flags & HTTP2_ACK) && h->apps_last)
        return ping(h, p, n, whole);
    if (h->stuck)
        return HTTP2_DONE_WAIT;
    *whole = HTTP2_HEAD;
    h->what = HTTP2_PASS;
    if (f.type == HTTP2_WINDOW_UPDATE && f.stream == 0 && f.length == 4) {
        enum http2_done is = complete ? window(h, p, whole) : HTTP2_DONE_WAIT;
        h->left = is == HTTP2_DONE_PASS ? f.length : 0;
        return is;
    }
    if (f.type == HTTP2_SETTINGS && (f.flags & HTTP2_ACK))
        settings_acknowledged(h);
    else if (f.type == HTTP2_SETTINGS && !complete && n < EXCHANGE_HEAD)
        return HTTP2_DONE_WAIT;
    else if (f.type == HTTP2_SETTINGS && complete)
        settings(h, p + HTTP2_HEAD, f.length);
    h->left = f.length;
    return HTTP2_DONE_PASS;
}

/* A part of the present frame's payload; false: it has to wait. */
static bool payload(struct http2 *h, const uint8_t *p, size_t n) {
    if (h->what == HTTP2_PASS && h->stuck)
        return false;
    if (h->what == HTTP2_BODY)
        http2_body(h, p, n);
    h->left -= (uint32_t)n;
    if (h->what == HTTP2_BODY && h->left == 0)
        http2_body_end(h);
    return true;
}

/* Whether the client has begun as HTTP/2 does; the target may have spoken before it. */
static enum http2_done preface(struct http2 *h, const uint8_t *p, size_t n) {
    size_t have = n < HTTP2_PREFACE_N ? n : HTTP2_PREFACE_N;
    h->why = EXCHANGE_WHY_NOT_HTTP;
    if (memcmp(p, HTTP2_PREFACE, have) != 0)
        return HTTP2_DONE_BROKEN;
    h->preface = have == HTTP2_PREFACE_N;
    return h->preface ? HTTP2_DONE_PASS : HTTP2_DONE_WAIT;
}

static enum http2_done next(struct http2 *h, const uint8_t *p, size_t n, size_t *part) {
    if (h->left > 0) {
        *part = h->left < n ? h->left : n;
        bool pass = h->what == HTTP2_PASS;
        if (*part == 0 || !payload(h, p, *part))
            return HTTP2_DONE_WAIT;
        return pass ? HTTP2_DONE_PASS : HTTP2_DONE_SELF;
    }
    if (!h->preface) {
        *part = HTTP2_PREFACE_N;
        return n == 0 || h->stuck ? HTTP2_DONE_WAIT : preface(h, p, n);
    }
    return n < HTTP2_HEAD ? HTTP2_DONE_WAIT : frame(h, p, n, part);
}

size_t http2_client(struct http2 *h, const uint8_t *p, size_t n) {
    size_t from = 0, at = 0; /* what lies between goes to the target as it is */
    enum http2_done is = HTTP2_DONE_PASS;
    h->stuck = exchange_full(h->x, EXCHANGE_TARGET);
    if (h->control.n >= HTTP2_CONTROL)
        return 0;
    while (is == HTTP2_DONE_PASS || is == HTTP2_DONE_SELF) {
        size_t part = 0;
        if (h->taken && h->left == 0) { /* the frame may be followed by octets of ours */
            http2_say_target(h, p + from, at - from);
            from = at;
            http2_give_away(h);
        }
        size_t until = at;
        is = next(h, p + at, n - at, &part);
        if (is == HTTP2_DONE_PASS || is == HTTP2_DONE_SELF)
            at += part;
        if (is != HTTP2_DONE_PASS) {
            http2_say_target(h, p + from, until - from);
            from = at;
        }
    }
    if (is == HTTP2_DONE_BROKEN)
        http2_broken(h, h->why);
    return at;
}
