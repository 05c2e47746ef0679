/* The state of HTTP/2 on one connection, and what its files ask of each other: http2_client.c reads the client (http2_block.c
 * its header blocks, http2_body.c the bodies of taken streams), http2_target.c the target; http2_leg.c speaks with an app,
 * http2_lost.c when it is gone; http2_stream.c keeps the taken streams, http2_out.c writes to the client. */
#pragma once

#include "agent/gate/http2.h"
#include "agent/http/http2_fields.h"

enum {
    HTTP2_STREAMS = 1000,     /* taken at once; the next is the target's */
    HTTP2_SETTINGS_OPEN = 32, /* not acknowledged yet */
    HTTP2_MINE =
        4096, /* numbers of taken streams that are remembered: a client may still speak of one that has ended */
    HTTP2_CONTROL =
        65536, /* octets of frames of ours that the client does not read; it is not read either, then */
    HTTP2_LINGER = 5000, /* milliseconds for the client to close after us */
    HTTP2_HELD =
        1048576, /* octets held for apps, from which on the connection's window is not repaid before they took them */
    HTTP2_LEG_WINDOW =
        262144, /* octets of DATA that an app may send and the client has not room for */
    HTTP2_AGAIN =
        8192, /* octets of the fields of a request that an app has, kept until it is answered */
};

struct http2_octets {
    uint8_t *p;
    size_t from, n, room; /* n octets at p + from */
};

/* A taken stream. */
struct http2_stream {
    uint32_t id;
    uint8_t slot;
    bool client_ended; /* the client's END_STREAM came */
    bool answered;     /* a final head went towards the client */
    bool app_ended;    /* END_STREAM or RST_STREAM is on its way to the client */
    bool closed;       /* the leg knows it no more */
    bool sent;         /* the leg has sent its head */
    bool heard;        /* the app has said something of an answer */
    bool again;        /* it is to be given away when the client's present frame has ended */
    int64_t window;    /* what the client may still send */
    uint32_t unpaid; /* octets not repaid to the connection's window: the leg is not accepted yet */
    uint32_t repaid; /* octets that were */
    uint32_t grant;  /* the client's WINDOW_UPDATEs: the leg is told when it sends the head */
    uint32_t queued; /* frames on their way to the client */
    uint8_t padding;
    uint8_t flags; /* of its HEADERS */
    uint8_t priority[5];
    struct http2_octets body;
    struct http2_fields fields; /* until it is heard, if they are few enough */
    struct http2_fields trailers;
};

enum http2_leg_state { HTTP2_LEG_NONE, HTTP2_LEG_ASKED, HTTP2_LEG_UP };

struct http2_leg {
    struct http2 *h;
    uint8_t slot;
    uint8_t state; /* enum http2_leg_state */
    bool going;    /* the app said GOAWAY */
    bool failed;   /* to be given up after the present call */
    nghttp2_session *session;
    uint64_t lost_at;
    struct http2_fields fields; /* of the block that is arriving */
    struct http2_octets queue;  /* whole frames for the client */
    size_t old;                 /* of them, octets of sessions before the present one */
};

enum http2_what { HTTP2_PASS, HTTP2_BODY, HTTP2_DROP };

struct http2 {
    struct exchange *x;
    bool taken;   /* a stream was: no longer octet for octet */
    bool preface; /* has been passed */
    bool closing; /* our end is sent */
    bool client_ended, target_ended;
    bool overrun;   /* more settings are not acknowledged than are followed */
    uint8_t why;    /* the client cannot be understood: enum exchange_why */
    bool stuck;     /* the target does not read: the client's frames for it wait */
    bool again;     /* there are such streams */
    bool apps_last; /* the last answer's octets that the client got were an app's */
    /* the client's side */
    uint32_t left; /* octets of the present frame's payload */
    uint8_t what;  /* enum http2_what */
    bool body_padded, body_ends;
    uint8_t body_padding;
    uint16_t
        body_beside; /* octets of that frame that no app takes: padding, and the octet that says how much */
    uint32_t stream;      /* of that frame */
    uint32_t last_stream; /* the highest the client has opened */
    uint32_t last_target; /* the highest that the target has seen */
    nghttp2_hd_inflater *inflater;
    nghttp2_hd_deflater *to_target, *to_client;
    struct http2_fields fields;
    /* the target's side */
    uint32_t target_left;
    struct http2_frame
        cut; /* a DATA frame that the client has not room for: `length` is still to be sent, in parts */
    bool target_began; /* a server's first frame is its SETTINGS: nothing of ours before it */
    bool target_block; /* CONTINUATION is owed */
    /* settings */
    int64_t client_window; /* initial window the client has set */
    int64_t target_window; /* the target has set */
    uint32_t tables[HTTP2_SETTINGS_OPEN],
        sizes[HTTP2_SETTINGS_OPEN]; /* target's, client's; not ACKed */
    uint8_t tables_n, sizes_n;
    uint32_t size;      /* the client's table, as acknowledged */
    uint32_t size_owed; /* a size update that the client waits for, or UINT32_MAX */
    /* windows */
    int64_t room;                /* the client's connection window */
    uint64_t debt;               /* of it, what apps used and the target thinks it has */
    uint32_t repay;              /* to the client's connection window */
    size_t held;                 /* octets of bodies held */
    struct http2_octets control; /* frames for the client that wait for a frame's end */
    /* apps */
    struct http2_leg leg[EXCHANGE_APPS];
    struct http2_stream **streams; /* in the order of their numbers */
    size_t streams_n, streams_room;
    uint32_t
        *mine; /* numbers that the target has never seen, the last HTTP2_MINE of them, in order */
    size_t mine_n;
    uint64_t linger_at, now;
};

/* --- http2_stream.c --- */
bool http2_octets_add(struct http2_octets *o, const void *p, size_t n);
void http2_octets_drop(struct http2_octets *o, size_t n);
void http2_octets_free(struct http2_octets *o);
struct http2_stream *http2_stream_find(const struct http2 *h, uint32_t id);
struct http2_stream *http2_stream_new(struct http2 *h, uint32_t id,
                                      unsigned slot); /* NULL: no memory */
void http2_stream_free(struct http2 *h, struct http2_stream *s);
bool http2_is_mine(const struct http2 *h, uint32_t id); /* taken once, whether it is over or not */
void http2_not_mine(struct http2 *h, uint32_t id);
/* Frees it if nothing is to come and nothing on its way. */
void http2_stream_done(struct http2 *h, struct http2_stream *s);

/* --- http2_leg.c --- */
bool http2_leg_may(const struct http2_leg *leg); /* whether a stream can be given to it */
/* The stream's head is in its fields. False: it could not be. */
bool http2_leg_open(struct http2_leg *leg, struct http2_stream *s);
void http2_leg_more(struct http2_leg *leg,
                    struct http2_stream *s); /* body, trailers or its end came */
void http2_leg_grant(struct http2_leg *leg, struct http2_stream *s, uint32_t n);
void http2_leg_cancel(struct http2_leg *leg, struct http2_stream *s, uint32_t code);
void http2_leg_window(struct http2_leg *leg, uint32_t initial);
size_t http2_leg_take(struct http2_leg *leg, const uint8_t *p, size_t n);
void http2_leg_pump(struct http2_leg *leg);               /* what the session wants to send */
void http2_leg_consumed(struct http2_leg *leg, size_t n); /* DATA that went to the client */
void http2_leg_free(struct http2_leg *leg);

/* --- http2_lost.c --- */
void http2_leg_lost(struct http2_leg *leg); /* also one that has not come */
void http2_again(struct http2 *h,
                 struct http2_stream *s); /* its app has not begun it, and will not */
void http2_give_away(struct http2 *h);    /* nothing, within a client's frame */

/* --- http2_out.c --- */
void http2_pump(struct http2 *h); /* sends the client what may be sent now */
bool http2_control(struct http2 *h, uint8_t type, uint32_t stream, uint32_t value);
bool http2_queue_block(struct http2_leg *leg, struct http2_stream *s, const struct http2_fields *l,
                       bool ends);
bool http2_queue_data(struct http2_leg *leg, struct http2_stream *s, const uint8_t *p, size_t n,
                      bool ends);
bool http2_queue_reset(struct http2_leg *leg, struct http2_stream *s, uint32_t code);

/* --- http2_block.c, http2_body.c --- */

/* What became of the octets that the client's side was about to take. */
enum http2_done {
    HTTP2_DONE_PASS, /* the frame's head is to be passed, and `left` octets behind it */
    HTTP2_DONE_SELF, /* octets were taken, and dealt with */
    HTTP2_DONE_WAIT,
    HTTP2_DONE_BROKEN, /* it cannot be understood: `why` */
};

/* A frame HEADERS lies at p; with what belongs to it, it is `*whole` octets. */
enum http2_done http2_block(struct http2 *h, const uint8_t *p, size_t n, size_t *whole);
/* A frame DATA of a taken stream; then n octets of its payload, of which `left` were still to come; then its end. */
void http2_body_begin(struct http2 *h, const struct http2_frame *f);
void http2_body(struct http2 *h, const uint8_t *p, size_t n);
void http2_body_end(struct http2 *h);

/* --- http2_client.c, http2_target.c, http2.c --- */
void http2_say_target(struct http2 *h, const uint8_t *p, size_t n);
size_t http2_client(struct http2 *h, const uint8_t *p, size_t n);
size_t http2_target(struct http2 *h, const uint8_t *p, size_t n);
/* Gives a stream to the target after all; its body so far too. */
void http2_to_target(struct http2 *h, struct http2_stream *s);
/* The client cannot be understood: raw, while the connection still can be; else it is cut. */
void http2_broken(struct http2 *h, enum exchange_why why);
/* A WINDOW_UPDATE for octets of bodies that went to their apps. */
void http2_took(struct http2 *h, struct http2_stream *s, size_t n);
