/* Data link frames as msgpack arrays, the very octets that wire/codec writes in Python. */
#include "mux_frame.h"

#include "fault.h"
#include "span.h"

#include <string.h>

enum { ERRNO_MAX = 4095 };

/* --- reading ---------------------------------------------------------------------------------------------------------- */

/* An unsigned integer of at most `max`; 0 and a bad span if it is none. */
static uint32_t number(struct span *s, uint32_t max) {
    uint64_t v = 0;
    if (!span_mp_uint(s, &v) || v > max) {
        span_fail(s);
        return 0;
    }
    return (uint32_t)v;
}

static struct endpoint endpoint(struct span *s) {
    const uint8_t *ip = NULL;
    uint32_t n = 0;
    struct endpoint e = {.port = 0};
    if (!span_mp_bin(s, &ip, &n))
        return e;
    if (n == 4)
        e.addr = addr_v4(ip);
    else if (n == 16)
        e.addr = addr_v6(ip);
    else if (n != 0)
        span_fail(s);
    e.port = (uint16_t)number(s, UINT16_MAX);
    return e;
}

static void payload(struct span *s, struct frame *out) {
    if (span_mp_bin(s, &out->payload, &out->payload_len) && out->payload_len > MUX_FRAME_DATA)
        span_fail(s);
}

/* OPEN's fields after the channel; `left` of them are there. */
static void open_fields(struct span *s, struct frame *out, uint32_t left) {
    out->open.kind = (enum channel_kind)number(s, UINT8_MAX);
    out->open.window = number(s, UINT32_MAX);
    out->open.source = endpoint(s);
    out->open.destination = endpoint(s);
    if (left > 6)
        out->open.target = number(s, UINT32_MAX);
}

/* How many fields follow tag and channel: those without a default, and all that are known. */
static void arity(uint32_t tag, uint32_t *needed, uint32_t *known) {
    static const uint8_t fields[FRAME_UNREACHABLE + 1][2] = {
        [FRAME_OPEN] = {6, 7},     [FRAME_OPENED] = {1, 1},      [FRAME_DATA] = {1, 1},
        [FRAME_GRANT] = {1, 1},    [FRAME_EOF] = {0, 0},         [FRAME_RESET] = {1, 1},
        [FRAME_DATAGRAM] = {3, 3}, [FRAME_UNREACHABLE] = {3, 3},
    };
    *needed = fields[tag][0];
    *known = fields[tag][1];
}

static void fields_of(struct span *s, struct frame *out, uint32_t left) {
    switch (out->tag) {
    case FRAME_OPEN:
        open_fields(s, out, left);
        break;
    case FRAME_OPENED:
    case FRAME_GRANT:
        out->octets = number(s, UINT32_MAX);
        break;
    case FRAME_DATA:
        payload(s, out);
        break;
    case FRAME_RESET:
        out->err = (int)number(s, ERRNO_MAX);
        break;
    case FRAME_DATAGRAM:
        out->peer = endpoint(s);
        payload(s, out);
        break;
    case FRAME_UNREACHABLE:
        out->peer = endpoint(s);
        out->err = (int)number(s, ERRNO_MAX);
        break;
    default:
        break;
    }
}

/* The frames that are about no channel, after their tag. */
static const char *of_the_link(struct span *s, struct frame *out, uint32_t count) {
    if (out->tag == FRAME_GOODBYE) {
        const char *text = NULL;
        if (!span_mp_str(s, &text, &out->payload_len))
            return "a goodbye without a reason";
        out->payload = (const uint8_t *)text;
        return NULL;
    }
    span_mp_uint(s, &out->received);
    for (uint32_t i = 2; i < count && !s->bad; i++)
        span_mp_skip(s);
    return s->bad || span_left(s) != 0 ? "a malformed acknowledgement" : NULL;
}

const char *frame_read(const uint8_t *p, size_t n, struct frame *out) {
    struct span s = span_of(p, n);
    uint32_t count = 0, needed, known;
    if (!span_mp_array(&s, &count) || count == 0)
        return "a frame that is no array";
    *out = (struct frame){.tag = number(&s, UINT32_MAX)};
    if (s.bad)
        return "a frame without a tag";
    if (out->tag == FRAME_GOODBYE || out->tag == FRAME_ACK)
        return of_the_link(&s, out, count);
    if (out->tag < FRAME_OPEN || out->tag > FRAME_UNREACHABLE)
        return "a frame of an unknown kind";
    arity(out->tag, &needed, &known);
    if (count < 2 + needed)
        return "a frame with too few fields";
    out->channel = number(&s, UINT32_MAX);
    fields_of(&s, out, count - 2);
    for (uint32_t i = 2 + known; i < count && !s.bad; i++)
        span_mp_skip(&s);
    return s.bad || span_left(&s) != 0 ? "a malformed frame" : NULL;
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static struct pen begin(uint8_t *out, uint32_t fields, enum frame_tag tag, uint32_t channel) {
    struct pen w = pen_on(out + FRAME_LENGTH, FRAME_HEAD - FRAME_LENGTH);
    pen_mp_array(&w, 2 + fields);
    pen_mp_uint(&w, tag);
    pen_mp_uint(&w, channel);
    return w;
}

/* Writes the length word, now that it is known; `n` octets of payload will follow what was written. */
static size_t end(uint8_t *out, const struct pen *w, size_t n) {
    CHECK(!w->over);
    size_t head = (size_t)(w->at - out);
    struct pen length = pen_on(out, FRAME_LENGTH);
    pen_u32(&length, (uint32_t)(head - FRAME_LENGTH + n));
    return head;
}

static void write_endpoint(struct pen *w, const struct endpoint *e) {
    pen_mp_bin(w, e->addr.ip, e->addr.family == 4 ? 4 : e->addr.family == 6 ? 16 : 0);
    pen_mp_uint(w, e->port);
}

size_t frame_open(uint8_t out[FRAME_HEAD], uint32_t channel, const struct channel_open *o) {
    struct pen w = begin(out, 7, FRAME_OPEN, channel);
    pen_mp_uint(&w, o->kind);
    pen_mp_uint(&w, o->window);
    write_endpoint(&w, &o->source);
    write_endpoint(&w, &o->destination);
    pen_mp_uint(&w, o->target);
    return end(out, &w, 0);
}

size_t frame_data(uint8_t out[FRAME_HEAD], uint32_t channel, size_t n) {
    struct pen w = begin(out, 1, FRAME_DATA, channel);
    pen_mp_bin_head(&w, (uint32_t)n);
    return end(out, &w, n);
}

size_t frame_datagram(uint8_t out[FRAME_HEAD], uint32_t channel, const struct endpoint *peer,
                      size_t n) {
    struct pen w = begin(out, 3, FRAME_DATAGRAM, channel);
    write_endpoint(&w, peer);
    pen_mp_bin_head(&w, (uint32_t)n);
    return end(out, &w, n);
}

size_t frame_unreachable(uint8_t out[FRAME_HEAD], uint32_t channel, const struct endpoint *peer,
                         int err) {
    struct pen w = begin(out, 3, FRAME_UNREACHABLE, channel);
    write_endpoint(&w, peer);
    pen_mp_uint(&w, (uint32_t)err);
    return end(out, &w, 0);
}

size_t frame_number(uint8_t out[FRAME_HEAD], enum frame_tag tag, uint32_t channel, uint32_t value) {
    struct pen w = begin(out, 1, tag, channel);
    pen_mp_uint(&w, value);
    return end(out, &w, 0);
}

size_t frame_eof(uint8_t out[FRAME_HEAD], uint32_t channel) {
    struct pen w = begin(out, 0, FRAME_EOF, channel);
    return end(out, &w, 0);
}

size_t frame_ack(uint8_t out[FRAME_HEAD], uint64_t received) {
    struct pen w = pen_on(out + FRAME_LENGTH, FRAME_HEAD - FRAME_LENGTH);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, FRAME_ACK);
    pen_mp_uint(&w, received);
    return end(out, &w, 0);
}

size_t frame_goodbye(uint8_t out[FRAME_GOODBYE_MAX], const char *reason) {
    struct pen w = pen_on(out + FRAME_LENGTH, FRAME_GOODBYE_MAX - FRAME_LENGTH);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, FRAME_GOODBYE);
    pen_mp_str(&w, reason);
    return end(out, &w, 0);
}
