/* The app's leg: a client's session of nghttp2, which has the streams that match under their own numbers. What the app answers
 * is read for the protocol's sake and dropped. */
#include "agent/sieve_http2_inner.h"

#include <stdlib.h>
#include <string.h>

/* --- streams ----------------------------------------------------------------------------------------------------- */

/* The place of that number, or where it would be. */
static size_t place(const struct sieve_http2 *h, uint32_t id) {
    size_t from = 0, to = h->streams_n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (h->streams[middle]->id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

struct sieve_stream *sieve_stream_find(const struct sieve_http2 *h, uint32_t id) {
    size_t at = place(h, id);
    return at < h->streams_n && h->streams[at]->id == id ? h->streams[at] : NULL;
}

/* Numbers grow, so it is the last. */
static struct sieve_stream *stream_new(struct sieve_http2 *h, uint32_t id) {
    if (h->streams_n == SIEVE_STREAMS)
        return NULL;
    if (h->streams_n == h->streams_room) {
        size_t room = h->streams_room ? h->streams_room * 2 : 8;
        struct sieve_stream **streams = realloc(h->streams, room * sizeof *streams);
        if (streams == NULL)
            return NULL;
        h->streams = streams;
        h->streams_room = room;
    }
    struct sieve_stream *t = calloc(1, sizeof *t);
    if (t != NULL) {
        t->id = id;
        h->streams[h->streams_n++] = t;
    }
    return t;
}

void sieve_stream_free(struct sieve_http2 *h, struct sieve_stream *t) {
    size_t at = place(h, t->id);
    h->streams_n--;
    memmove(h->streams + at, h->streams + at + 1, (h->streams_n - at) * sizeof *h->streams);
    h->held -= t->n;
    http2_fields_free(&t->trailers);
    free(t->body);
    free(t);
}

/* --- the session ------------------------------------------------------------------------------------------------- */

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct sieve_http2 *h = user;
    (void)session, (void)code;
    struct sieve_stream *t = sieve_stream_find(h, (uint32_t)id);
    if (t != NULL)
        sieve_stream_free(h, t);
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct sieve_http2 *h = user;
    (void)session;
    h->spoken |= frame->hd.type == NGHTTP2_SETTINGS;
    h->going |= frame->hd.type == NGHTTP2_GOAWAY;
    return 0;
}

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *user) {
    struct sieve_http2 *h = user;
    (void)source;
    struct sieve_stream *t = sieve_stream_find(h, (uint32_t)id);
    if (t == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (t->n == 0 && !t->ended)
        return NGHTTP2_ERR_DEFERRED;
    n = n < t->n ? n : t->n;
    if (n > 0)
        memcpy(to, t->body + t->from, n);
    t->from += n;
    t->n -= n;
    h->held -= n;
    if (t->n > 0 || !t->ended)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (t->trailers.count > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv *nv = http2_fields_nv(&t->trailers);
        bool done = nv != NULL && nghttp2_submit_trailer(session, id, nv, t->trailers.count) == 0;
        free(nv);
        if (!done)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static nghttp2_session *session_new(struct sieve_http2 *h) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    nghttp2_settings_entry set[] = {{NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_option_set_no_http_messaging(option, 1); /* nobody reads what the app answers */
        nghttp2_option_set_max_send_header_block_length(option, HTTP2_FIELDS_OCTETS * 2);
        if (nghttp2_session_client_new2(&session, callbacks, h, option) != 0)
            session = NULL;
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    if (session != NULL && nghttp2_submit_settings(session, 0, set, 1) != 0) {
        nghttp2_session_del(session);
        session = NULL;
    }
    return session;
}

void sieve_leg_free(struct sieve_http2 *h) {
    while (h->streams_n > 0)
        sieve_stream_free(h, h->streams[h->streams_n - 1]);
    nghttp2_session_del(h->session);
    h->session = NULL;
    h->spoken = h->going = h->failed = false;
    h->pending_n = 0;
}

void sieve_http2_lost(struct sieve_http2 *h) {
    sieve_leg_free(h);
}

/* Whether there is a session by which the app can be asked. */
static bool begin(struct sieve_http2 *h) {
    if (h->going && h->streams_n == 0)
        h->failed = true; /* it takes no more, and has all it took */
    if (h->failed) {
        sieve_leg_free(h);
        h->s->ops->drop(h->s->shell);
    }
    enum sieve_leg leg = h->going ? SIEVE_NONE : h->s->ops->open(h->s->shell);
    if (leg == SIEVE_NONE)
        return false;
    if (leg == SIEVE_FRESH)
        sieve_leg_free(h);
    if (h->session == NULL)
        h->session = session_new(h);
    return h->session != NULL;
}

bool sieve_leg_open(struct sieve_http2 *h, uint32_t id, bool ended) {
    struct sieve_stream *t = begin(h) ? stream_new(h, id) : NULL;
    if (t == NULL)
        return false;
    t->ended = ended;
    nghttp2_nv *nv = http2_fields_nv(&h->fields);
    nghttp2_data_provider provider = {.read_callback = body};
    bool done = nv != NULL && nghttp2_session_set_next_stream_id(h->session, (int32_t)id) == 0 &&
                nghttp2_submit_request(h->session, NULL, nv, h->fields.count,
                                       ended ? NULL : &provider, NULL) == (int32_t)id;
    free(nv);
    if (!done)
        sieve_stream_free(h, t);
    return done;
}

bool sieve_leg_body(struct sieve_http2 *h, struct sieve_stream *t, const uint8_t *p, size_t n) {
    if (t->from + t->n + n > t->room) {
        if (t->n > 0)
            memmove(t->body, t->body + t->from, t->n);
        t->from = 0;
        if (t->n + n > t->room) {
            uint8_t *more = realloc(t->body, (t->n + n) * 2);
            if (more == NULL)
                return false;
            t->body = more;
            t->room = (t->n + n) * 2;
        }
    }
    memcpy(t->body + t->from + t->n, p, n);
    t->n += n;
    h->held += n;
    nghttp2_session_resume_data(h->session, (int32_t)t->id); /* not deferred: it is asked anyway */
    return true;
}

void sieve_leg_end(struct sieve_http2 *h, struct sieve_stream *t, bool trailers) {
    if (t->ended)
        return;
    if (trailers)
        http2_fields_copy(&t->trailers, &h->fields);
    t->ended = true;
    nghttp2_session_resume_data(h->session, (int32_t)t->id);
}

void sieve_leg_cancel(struct sieve_http2 *h, struct sieve_stream *t, uint32_t code) {
    nghttp2_submit_rst_stream(h->session, 0, (int32_t)t->id, code);
}

void sieve_http2_answered(struct sieve_http2 *h, const uint8_t *p, size_t n) {
    if (h->session == NULL || h->failed)
        return;
    h->failed = nghttp2_session_mem_recv(h->session, p, n) < 0;
    sieve_http2_pump(h);
}

void sieve_http2_pump(struct sieve_http2 *h) {
    while (h->session != NULL && !h->failed) {
        if (h->pending_n == 0) {
            ssize_t n = nghttp2_session_mem_send(h->session, &h->pending);
            h->failed = n < 0;
            if (n <= 0)
                break;
            h->pending_n = (size_t)n;
        }
        size_t given = h->s->ops->give(h->s->shell, h->pending, h->pending_n);
        h->pending += given;
        h->pending_n -= given;
        if (h->pending_n > 0)
            return;
    }
    if (h->failed) {
        sieve_leg_free(h);
        h->s->ops->drop(h->s->shell);
    }
}
