/* HTTP/2's part of the sieve: sieve_http2.c reads the client's frames, sieve_http2_leg.c speaks with the app. */
#pragma once

#include "agent/http/http2_fields.h"
#include "agent/sieve_inner.h"

enum {
    SIEVE_STREAMS = 1000, /* copied at once; what is opened beyond is left out */
    SIEVE_HELD =
        1048576, /* octets of bodies for which the app has no window: then nothing more is taken of the client's */
    SIEVE_TABLE =
        65536, /* of HPACK's decoder, whatever the target allows: the client says in its blocks what it uses */
};

/* A stream that the app has, under the client's number. */
struct sieve_stream {
    uint32_t id;
    bool ended; /* the client's END_STREAM came */
    uint8_t *body;
    size_t from, n, room; /* n octets at body + from */
    struct http2_fields trailers;
};

struct sieve_http2 {
    struct sieve *s;
    /* the client's side */
    bool preface;
    uint32_t left; /* octets of the present frame's payload */
    bool keeps;    /* they are a body's that the app gets */
    bool padded, ends;
    uint8_t padding;
    uint32_t stream, last;
    nghttp2_hd_inflater *inflater;
    struct http2_fields fields;
    /* the app's */
    nghttp2_session *session; /* NULL: there is no leg */
    bool spoken;              /* the app is a server of HTTP/2, which answers */
    bool going;               /* it said GOAWAY */
    bool failed;
    const uint8_t *pending; /* what the session said and the app has not taken yet */
    size_t pending_n;
    struct sieve_stream **streams; /* in the order of their numbers */
    size_t streams_n, streams_room;
    size_t held; /* octets of all bodies */
};

struct sieve_stream *sieve_stream_find(const struct sieve_http2 *h, uint32_t id);
void sieve_stream_free(struct sieve_http2 *h, struct sieve_stream *t);

/* The client's stream of that number, whose head is in `fields`, for the app; false: it cannot have it. */
bool sieve_leg_open(struct sieve_http2 *h, uint32_t id, bool ended);
bool sieve_leg_body(struct sieve_http2 *h, struct sieve_stream *t, const uint8_t *p, size_t n);
/* No more comes; `trailers`: of `fields`. */
void sieve_leg_end(struct sieve_http2 *h, struct sieve_stream *t, bool trailers);
void sieve_leg_cancel(struct sieve_http2 *h, struct sieve_stream *t, uint32_t code);
void sieve_leg_free(struct sieve_http2 *h); /* and all its streams */
