/* Octets in one piece and places in it, so that a list is moved and reused without a visit to every field. */
#include "agent/http/http2_fields.h"

#include <stdlib.h>
#include <string.h>

void http2_fields_clear(struct http2_fields *l) {
    l->count = l->used = 0;
}

void http2_fields_free(struct http2_fields *l) {
    free(l->field);
    free(l->octets);
    memset(l, 0, sizeof *l);
}

static bool grow(struct http2_fields *l, size_t n) {
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : 16;
        struct http2_field *field = realloc(l->field, room * sizeof *field);
        if (field == NULL)
            return false;
        l->field = field;
        l->room = room;
    }
    if (l->used + n > l->size) {
        size_t size = (l->used + n) * 2;
        uint8_t *octets = realloc(l->octets, size);
        if (octets == NULL)
            return false;
        l->octets = octets;
        l->size = size;
    }
    return true;
}

bool http2_fields_add(struct http2_fields *l, const uint8_t *name, size_t name_n,
                      const uint8_t *value, size_t value_n, uint8_t flags) {
    size_t n = name_n + value_n;
    if (l->count == HTTP2_FIELDS_MOST || l->used + n > HTTP2_FIELDS_OCTETS || !grow(l, n))
        return false;
    l->field[l->count++] = (struct http2_field){
        .name_at = (uint32_t)l->used,
        .name_n = (uint32_t)name_n,
        .value_at = (uint32_t)(l->used + name_n),
        .value_n = (uint32_t)value_n,
        .flags = flags,
    };
    if (name_n > 0)
        memcpy(l->octets + l->used, name, name_n);
    if (value_n > 0)
        memcpy(l->octets + l->used + name_n, value, value_n);
    l->used += n;
    return true;
}

bool http2_fields_copy(struct http2_fields *to, const struct http2_fields *from) {
    http2_fields_clear(to);
    for (size_t i = 0; i < from->count; i++) {
        const struct http2_field *f = &from->field[i];
        if (!http2_fields_add(to, from->octets + f->name_at, f->name_n, from->octets + f->value_at,
                              f->value_n, f->flags))
            return false;
    }
    return true;
}

const char *http2_fields_find(const struct http2_fields *l, const char *name, size_t *n) {
    size_t length = strlen(name);
    for (size_t i = 0; i < l->count; i++) {
        const struct http2_field *f = &l->field[i];
        if (f->name_n == length && memcmp(l->octets + f->name_at, name, length) == 0) {
            *n = f->value_n;
            return (const char *)l->octets + f->value_at;
        }
    }
    *n = 0;
    return NULL;
}

bool http2_fields_header(const struct http2_fields *l, size_t i, struct http2_header *header) {
    const struct http2_field *f = &l->field[i];
    *header = (struct http2_header){
        .name = (const char *)l->octets + f->name_at,
        .name_n = f->name_n,
        .value = (const char *)l->octets + f->value_at,
        .value_n = f->value_n,
    };
    if (f->name_n == 10 && memcmp(header->name, ":authority", 10) == 0) {
        header->name = "host";
        header->name_n = 4;
    }
    return header->name_n > 0 && header->name[0] != ':';
}

nghttp2_nv *http2_fields_nv(const struct http2_fields *l) {
    nghttp2_nv *nv = calloc(l->count + 1, sizeof *nv);
    for (size_t i = 0; nv != NULL && i < l->count; i++) {
        const struct http2_field *f = &l->field[i];
        nv[i] = (nghttp2_nv){
            .name = l->octets + f->name_at,
            .namelen = f->name_n,
            .value = l->octets + f->value_at,
            .valuelen = f->value_n,
            .flags = f->flags & NGHTTP2_NV_FLAG_NO_INDEX,
        };
    }
    return nv;
}

static bool inflate(struct http2_fields *l, nghttp2_hd_inflater *inflater, const uint8_t *p,
                    size_t n, bool final) {
    for (;;) {
        nghttp2_nv nv;
        int flags = 0;
        ssize_t took = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, final);
        if (took < 0)
            return false;
        p += took;
        n -= (size_t)took;
        if ((flags & NGHTTP2_HD_INFLATE_EMIT) &&
            !http2_fields_add(l, nv.name, nv.namelen, nv.value, nv.valuelen, nv.flags))
            return false;
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(inflater);
            return true;
        }
        if (n == 0 && !(flags & NGHTTP2_HD_INFLATE_EMIT))
            return true;
    }
}

bool http2_fields_inflate(struct http2_fields *l, nghttp2_hd_inflater *inflater, const uint8_t *p,
                          const struct http2_block *b) {
    http2_fields_clear(l);
    size_t at = HTTP2_HEAD + http2_frame_read(p).length;
    if (!inflate(l, inflater, p + b->at, b->n, at == b->whole))
        return false;
    while (at < b->whole) {
        size_t n = http2_frame_read(p + at).length;
        const uint8_t *fragment = p + at + HTTP2_HEAD;
        at += HTTP2_HEAD + n;
        if (!inflate(l, inflater, fragment, n, at == b->whole))
            return false;
    }
    return true;
}

nghttp2_hd_deflater *http2_deflater_new(bool says_size) {
    nghttp2_hd_deflater *d;
    if (nghttp2_hd_deflate_new(&d, 0) != 0)
        return NULL;
    uint8_t size_update[16]; /* is said with the first block, even an empty one */
    if (!says_size && nghttp2_hd_deflate_hd(d, size_update, sizeof size_update, NULL, 0) < 0) {
        nghttp2_hd_deflate_del(d);
        return NULL;
    }
    return d;
}

void http2_deflater_free(nghttp2_hd_deflater *d) {
    if (d != NULL)
        nghttp2_hd_deflate_del(d);
}

/* The block cut into frames: as the one frame it was like, if it fits, padding and all. */
static size_t frames(uint8_t *to, const uint8_t *block, size_t n, const struct http2_block *like,
                     size_t spare) {
    size_t priority = like->priority != NULL ? 5 : 0;
    size_t padded = (like->flags & HTTP2_PADDED) &&
                    n + spare + priority + 1 + like->padding <= HTTP2_FRAME_MOST;
    size_t padding = padded ? like->padding : 0;
    size_t first = HTTP2_FRAME_MOST - spare - priority - padded - padding;
    first = n < first ? n : first;
    uint8_t flags = like->flags & (HTTP2_END_STREAM | HTTP2_HAS_PRIORITY);
    flags |= (padded ? HTTP2_PADDED : 0) | (first == n ? HTTP2_END_HEADERS : 0);
    struct http2_frame f = {(uint32_t)(padded + priority + first + padding), HTTP2_HEADERS, flags,
                            like->stream};
    uint8_t *w = to;
    http2_frame_write(w, &f);
    w += HTTP2_HEAD;
    if (padded)
        *w++ = like->padding;
    if (priority > 0)
        memcpy(w, like->priority, priority);
    w += priority;
    memcpy(w, block, first);
    w += first;
    memset(w, 0, padding);
    w += padding;
    for (size_t at = first; at < n;) {
        size_t part = n - at < HTTP2_FRAME_MOST ? n - at : HTTP2_FRAME_MOST;
        f = (struct http2_frame){(uint32_t)part, HTTP2_CONTINUATION,
                                 at + part == n ? HTTP2_END_HEADERS : 0, like->stream};
        http2_frame_write(w, &f);
        memcpy(w + HTTP2_HEAD, block + at, part);
        w += HTTP2_HEAD + part;
        at += part;
    }
    return (size_t)(w - to);
}

bool http2_fields_write(const struct http2_fields *l, nghttp2_hd_deflater *deflater,
                        const struct http2_block *like, size_t spare, struct http2_written *out) {
    nghttp2_nv *nv = http2_fields_nv(l);
    size_t bound = nv != NULL ? nghttp2_hd_deflate_bound(deflater, nv, l->count) : 0;
    uint8_t *block = nv != NULL ? malloc(bound) : NULL;
    out->p = block != NULL ? malloc(bound + 512 + bound / HTTP2_FRAME_MOST * HTTP2_HEAD) : NULL;
    bool done = false;
    if (out->p != NULL) {
        ssize_t n = nghttp2_hd_deflate_hd(deflater, block, bound, nv, l->count);
        done = n >= 0;
        if (done)
            out->n = frames(out->p, block, (size_t)n, like, spare);
        else
            free(out->p);
    }
    free(block);
    free(nv);
    return done;
}
