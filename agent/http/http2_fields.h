/* A list of header fields in their order, and its way through HPACK (RFC 7541) by nghttp2. */
#pragma once

#include "agent/http/http2_frame.h"

#include <nghttp2/nghttp2.h>

enum { HTTP2_FIELDS_MOST = 1024, HTTP2_FIELDS_OCTETS = 262144 }; /* bounds of a decoded block */

struct http2_field {
    uint32_t name_at, name_n, value_at, value_n;
    uint8_t flags; /* nghttp2's: whether it is never to be indexed */
};

/* Zeroed, it is empty. */
struct http2_fields {
    struct http2_field *field;
    uint8_t *octets;
    size_t count, room, used, size;
};

void http2_fields_clear(struct http2_fields *l); /* keeps its memory */
void http2_fields_free(struct http2_fields *l);
bool http2_fields_add(struct http2_fields *l, const uint8_t *name, size_t name_n,
                      const uint8_t *value, size_t value_n, uint8_t flags);
bool http2_fields_copy(struct http2_fields *to, const struct http2_fields *from);
/* The value of the first field of that name, or NULL. */
const char *http2_fields_find(const struct http2_fields *l, const char *name, size_t *n);
/* A field as HTTP/1 would have it in a header: `:authority` is `host`, so that one filter does for both. */
struct http2_header {
    const char *name, *value;
    size_t name_n, value_n;
};
bool http2_fields_header(const struct http2_fields *l, size_t i,
                         struct http2_header *header); /* no: it is in the request line */
/* For nghttp2: `l->count` of them, pointing into `l`; to be freed. NULL: no memory. */
nghttp2_nv *http2_fields_nv(const struct http2_fields *l);

/* Decodes the block that lies at p; false: a decoding error, which ends the connection, or a bound. */
bool http2_fields_inflate(struct http2_fields *l, nghttp2_hd_inflater *inflater, const uint8_t *p,
                          const struct http2_block *b);

/* An encoder that refers to the static table alone and adds nothing to the decoder's dynamic one. `says_size`: its first block
 * sets the table's size to 0 (the decoder's earlier content is never referred to again); without it, it says nothing of sizes,
 * because the table belongs to another encoder whose blocks go to the same decoder. NULL: no memory. */
nghttp2_hd_deflater *http2_deflater_new(bool says_size);
void http2_deflater_free(nghttp2_hd_deflater *d); /* NULL is nothing, unlike nghttp2's */

/* The frames HEADERS and CONTINUATION of one block; HEADERS has room for `spare` octets more. */
struct http2_written {
    uint8_t *p; /* to be freed */
    size_t n;
};
bool http2_fields_write(const struct http2_fields *l, nghttp2_hd_deflater *deflater,
                        const struct http2_block *like, size_t spare, struct http2_written *out);
