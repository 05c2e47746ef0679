/* Bounded reading and writing of octets, big-endian integers, and the subset of msgpack that frames use.
 *
 * A span is two pointers. A read that does not fit fails, leaves the outputs alone and makes the span empty for good
 * (`bad` is set), so that a parser may check once at its end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct span {
    const uint8_t *at;
    const uint8_t *end;
    bool bad;
};

struct span span_of(const void *p, size_t n);
size_t span_left(const struct span *s);
bool span_u8(struct span *s, uint8_t *v);
bool span_u16(struct span *s, uint16_t *v); /* big-endian, as all of these */
bool span_u32(struct span *s, uint32_t *v);
bool span_u64(struct span *s, uint64_t *v);
bool span_uint(struct span *s, unsigned width, uint64_t *v); /* of 1 to 8 octets */
bool span_take(struct span *s, size_t n, const uint8_t **p);
bool span_fail(struct span *s); /* false; for a parser that found something wrong itself */

/* msgpack (https://github.com/msgpack/msgpack/blob/master/spec.md). Integers of any width that hold a u32/u64 are taken. */
bool span_mp_array(struct span *s, uint32_t *count);
bool span_mp_uint(struct span *s, uint64_t *v);
bool span_mp_bool(struct span *s, bool *v);
bool span_mp_bin(struct span *s, const uint8_t **p, uint32_t *n); /* bin 8/16/32 */
bool span_mp_str(struct span *s, const char **p, uint32_t *n);    /* not terminated */
bool span_mp_skip(struct span *s); /* one value of any type, bounded depth 8 */

/* Writing into a buffer of a known size; `over` is set instead of writing past the end. */
struct pen {
    uint8_t *at;
    uint8_t *end;
    bool over;
};

struct pen pen_on(void *p, size_t n);
void pen_u8(struct pen *w, uint8_t v);
void pen_u32(struct pen *w, uint32_t v);
void pen_bytes(struct pen *w, const void *p, size_t n);
void pen_mp_array(struct pen *w, uint32_t count);
void pen_mp_uint(struct pen *w, uint64_t v); /* the shortest form, as Python's msgpack writes it */
void pen_mp_bool(struct pen *w, bool v);
void pen_mp_bin(struct pen *w, const void *p, uint32_t n);
void pen_mp_bin_head(struct pen *w, uint32_t n); /* the payload follows by other means */
void pen_mp_str(struct pen *w, const char *text);
