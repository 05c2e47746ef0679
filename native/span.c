/* Spans and pens: reading and writing octets that cannot leave their buffer. */
#include "span.h"

#include <string.h>

struct span span_of(const void *p, size_t n) {
    return (struct span){.at = p, .end = (const uint8_t *)p + n};
}

size_t span_left(const struct span *s) {
    return (size_t)(s->end - s->at);
}

bool span_fail(struct span *s) {
    s->bad = true;
    s->at = s->end;
    return false;
}

bool span_uint(struct span *s, unsigned width, uint64_t *v) {
    if (span_left(s) < width)
        return span_fail(s);
    uint64_t value = 0;
    for (unsigned i = 0; i < width; i++)
        value = value << 8 | s->at[i];
    s->at += width;
    *v = value;
    return true;
}

bool span_u8(struct span *s, uint8_t *v) {
    uint64_t value;
    if (!span_uint(s, 1, &value))
        return false;
    *v = (uint8_t)value;
    return true;
}

bool span_u16(struct span *s, uint16_t *v) {
    uint64_t value;
    if (!span_uint(s, 2, &value))
        return false;
    *v = (uint16_t)value;
    return true;
}

bool span_u32(struct span *s, uint32_t *v) {
    uint64_t value;
    if (!span_uint(s, 4, &value))
        return false;
    *v = (uint32_t)value;
    return true;
}

bool span_u64(struct span *s, uint64_t *v) {
    return span_uint(s, 8, v);
}

bool span_take(struct span *s, size_t n, const uint8_t **p) {
    if (span_left(s) < n)
        return span_fail(s);
    *p = s->at;
    s->at += n;
    return true;
}

struct pen pen_on(void *p, size_t n) {
    return (struct pen){.at = p, .end = (uint8_t *)p + n};
}

static bool fits(struct pen *w, size_t n) {
    if (w->over || (size_t)(w->end - w->at) < n) {
        w->over = true;
        return false;
    }
    return true;
}

void pen_u8(struct pen *w, uint8_t v) {
    if (fits(w, 1))
        *w->at++ = v;
}

void pen_u32(struct pen *w, uint32_t v) {
    uint8_t octets[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    pen_bytes(w, octets, sizeof octets);
}

void pen_bytes(struct pen *w, const void *p, size_t n) {
    if (!fits(w, n))
        return;
    if (n != 0)
        memcpy(w->at, p, n);
    w->at += n;
}
