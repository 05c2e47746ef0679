/* The subset of msgpack that frames use, on spans and pens: what the wire's messages are made of and no more.
 *
 * Source: https://github.com/msgpack/msgpack/blob/master/spec.md. Every reading function that meets another type fails
 * as a short read does: it leaves its outputs alone and the span bad.
 */
#include "span.h"

#include <string.h>

bool span_mp_array(struct span *s, uint32_t *count) {
    uint8_t head;
    uint64_t n;
    if (!span_u8(s, &head))
        return false;
    if ((head & 0xf0) == 0x90)
        n = head & 0x0f;
    else if (head != 0xdc && head != 0xdd)
        return span_fail(s);
    else if (!span_uint(s, head == 0xdc ? 2 : 4, &n))
        return false;
    *count = (uint32_t)n;
    return true;
}

bool span_mp_uint(struct span *s, uint64_t *v) {
    uint8_t head;
    if (!span_u8(s, &head))
        return false;
    if (head <= 0x7f) {
        *v = head;
        return true;
    }
    if (head >= 0xcc && head <= 0xcf)
        return span_uint(s, 1u << (head - 0xcc), v);
    if (head < 0xd0 || head > 0xd3) /* signed forms are taken too, if the number is not negative */
        return span_fail(s);
    unsigned width = 1u << (head - 0xd0);
    uint64_t value;
    if (!span_uint(s, width, &value))
        return false;
    if (value >> (width * 8 - 1) != 0)
        return span_fail(s);
    *v = value;
    return true;
}

bool span_mp_bool(struct span *s, bool *v) {
    uint8_t head;
    if (!span_u8(s, &head))
        return false;
    if (head != 0xc2 && head != 0xc3)
        return span_fail(s);
    *v = head == 0xc3;
    return true;
}

bool span_mp_bin(struct span *s, const uint8_t **p, uint32_t *n) {
    uint8_t head;
    uint64_t length;
    const uint8_t *at;
    if (!span_u8(s, &head))
        return false;
    if (head < 0xc4 || head > 0xc6)
        return span_fail(s);
    if (!span_uint(s, 1u << (head - 0xc4), &length) || !span_take(s, length, &at))
        return false;
    *p = at;
    *n = (uint32_t)length;
    return true;
}

bool span_mp_str(struct span *s, const char **p, uint32_t *n) {
    uint8_t head;
    uint64_t length;
    const uint8_t *at;
    if (!span_u8(s, &head))
        return false;
    if ((head & 0xe0) == 0xa0)
        length = head & 0x1f;
    else if (head < 0xd9 || head > 0xdb)
        return span_fail(s);
    else if (!span_uint(s, 1u << (head - 0xd9), &length))
        return false;
    if (!span_take(s, length, &at))
        return false;
    *p = (const char *)at;
    *n = (uint32_t)length;
    return true;
}

/* What follows the head octet: `octets` of plain content, or `items` values (a map's keys and values count each). */
struct extent {
    uint64_t octets;
    uint64_t items;
};

/* The types whose length is written after the head (0xc4..0xc9 and 0xd9..0xdf), and those of fixed size. */
static bool extent_of(struct span *s, uint8_t head, struct extent *x) {
    *x = (struct extent){0};
    switch (head) {
    case 0xc0: /* nil, false, true */
    case 0xc2:
    case 0xc3:
        return true;
    case 0xc4: /* bin */
    case 0xc5:
    case 0xc6:
        return span_uint(s, 1u << (head - 0xc4), &x->octets);
    case 0xc7: /* ext: a type octet comes before the content */
    case 0xc8:
    case 0xc9:
        if (!span_uint(s, 1u << (head - 0xc7), &x->octets))
            return false;
        x->octets++;
        return true;
    case 0xca: /* float */
    case 0xcb:
        x->octets = head == 0xca ? 4 : 8;
        return true;
    case 0xd9: /* str */
    case 0xda:
    case 0xdb:
        return span_uint(s, 1u << (head - 0xd9), &x->octets);
    case 0xdc: /* array */
    case 0xdd:
        return span_uint(s, head == 0xdc ? 2 : 4, &x->items);
    case 0xde: /* map */
    case 0xdf:
        if (!span_uint(s, head == 0xde ? 2 : 4, &x->items))
            return false;
        x->items *= 2;
        return true;
    default:
        break;
    }
    if (head >= 0xcc && head <= 0xd3) /* integers, unsigned and signed */
        x->octets = 1u << ((head - 0xcc) & 3);
    else if (head >= 0xd4 && head <= 0xd8) /* fixext: type and 1, 2, 4, 8, 16 octets */
        x->octets = 1u + (1u << (head - 0xd4));
    else if ((head & 0xe0) == 0xa0) /* fixstr */
        x->octets = head & 0x1f;
    else if ((head & 0xf0) == 0x90) /* fixarray */
        x->items = head & 0x0f;
    else if ((head & 0xf0) == 0x80) /* fixmap */
        x->items = (head & 0x0fu) * 2;
    else
        return head <= 0x7f || head >= 0xe0; /* fixint; 0xc1 is never used */
    return true;
}

bool span_mp_skip(struct span *s) {
    enum { DEPTH = 8 };
    uint64_t open[DEPTH]; /* values still to come at each level */
    int depth = 0;
    open[0] = 1;
    while (depth >= 0) {
        if (open[depth] == 0) {
            depth--;
            continue;
        }
        open[depth]--;
        uint8_t head;
        struct extent x;
        const uint8_t *content;
        if (!span_u8(s, &head))
            return false;
        if (!extent_of(s, head, &x))
            return span_fail(s);
        if (!span_take(s, x.octets, &content))
            return false;
        if (x.items == 0)
            continue;
        if (depth == DEPTH - 1)
            return span_fail(s);
        open[++depth] = x.items;
    }
    return true;
}

/* --- writing: always the shortest form, as Python's msgpack does ------------------------------------------------------ */

static void wide(struct pen *w, uint8_t head, uint64_t v, unsigned width) {
    uint8_t octets[9] = {head};
    for (unsigned i = 0; i < width; i++)
        octets[1 + i] = (uint8_t)(v >> ((width - 1 - i) * 8));
    pen_bytes(w, octets, 1 + width);
}

void pen_mp_array(struct pen *w, uint32_t count) {
    if (count < 16)
        pen_u8(w, (uint8_t)(0x90 | count));
    else if (count <= UINT16_MAX)
        wide(w, 0xdc, count, 2);
    else
        wide(w, 0xdd, count, 4);
}

void pen_mp_uint(struct pen *w, uint64_t v) {
    if (v <= 0x7f)
        pen_u8(w, (uint8_t)v);
    else if (v <= UINT8_MAX)
        wide(w, 0xcc, v, 1);
    else if (v <= UINT16_MAX)
        wide(w, 0xcd, v, 2);
    else if (v <= UINT32_MAX)
        wide(w, 0xce, v, 4);
    else
        wide(w, 0xcf, v, 8);
}

void pen_mp_bool(struct pen *w, bool v) {
    pen_u8(w, v ? 0xc3 : 0xc2);
}

void pen_mp_bin_head(struct pen *w, uint32_t n) {
    if (n <= UINT8_MAX)
        wide(w, 0xc4, n, 1);
    else if (n <= UINT16_MAX)
        wide(w, 0xc5, n, 2);
    else
        wide(w, 0xc6, n, 4);
}

void pen_mp_bin(struct pen *w, const void *p, uint32_t n) {
    pen_mp_bin_head(w, n);
    pen_bytes(w, p, n);
}

void pen_mp_str(struct pen *w, const char *text) {
    size_t n = strlen(text);
    if (n < 32)
        pen_u8(w, (uint8_t)(0xa0 | n));
    else if (n <= UINT8_MAX)
        wide(w, 0xd9, n, 1);
    else if (n <= UINT16_MAX)
        wide(w, 0xda, n, 2);
    else
        wide(w, 0xdb, n, 4);
    pen_bytes(w, text, n);
}
