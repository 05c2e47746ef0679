/* One app's leg: a client's session of nghttp2 that has the taken streams under their own numbers. */
#include "agent/gate/http2_inner.h"

#include <stdlib.h>
#include <string.h>

/* --- what the app says ----------------------------------------------------------------------------------------------- */

static struct http2_stream *known(struct http2_leg *leg, int32_t id) {
    struct http2_stream *s = http2_stream_find(leg->h, (uint32_t)id);
    return s != NULL && s->slot == leg->slot && !s->closed && !s->again ? s : NULL;
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct http2_leg *leg = user;
    (void)session, (void)frame;
    http2_fields_clear(&leg->fields);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *user) {
    struct http2_leg *leg = user;
    (void)session, (void)frame;
    return http2_fields_add(&leg->fields, name, name_n, value, value_n, flags)
               ? 0
               : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static bool final_status(const struct http2_fields *l) {
    size_t n;
    const char *status = http2_fields_find(l, ":status", &n);
    return status != NULL && n == 3 && status[0] != '1';
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct http2_leg *leg = user;
    (void)session;
    bool ends = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (frame->hd.type == NGHTTP2_GOAWAY)
        leg->going = true;
    struct http2_stream *s = frame->hd.stream_id ? known(leg, frame->hd.stream_id) : NULL;
    if (s == NULL || s->app_ended)
        return 0;
    bool done = true;
    if (frame->hd.type == NGHTTP2_HEADERS) {
        s->heard = true;
        http2_fields_free(&s->fields);
        s->answered |= final_status(&leg->fields);
        done = http2_queue_block(leg, s, &leg->fields, ends);
    } else if (frame->hd.type == NGHTTP2_DATA && ends) {
        done = http2_queue_data(leg, s, NULL, 0, true);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM && !s->heard &&
               frame->rst_stream.error_code == NGHTTP2_REFUSED_STREAM) {
        http2_again(leg->h, s);
    } else if (frame->hd.type == NGHTTP2_RST_STREAM) {
        done = http2_queue_reset(leg, s, frame->rst_stream.error_code);
    }
    return done ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user) {
    struct http2_leg *leg = user;
    (void)flags;
    struct http2_stream *s = known(leg, id);
    if (s == NULL || s->app_ended)
        return nghttp2_session_consume_connection(session, n) == 0 ? 0
                                                                   : NGHTTP2_ERR_CALLBACK_FAILURE;
    return n == 0 || http2_queue_data(leg, s, p, n, false) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct http2_leg *leg = user;
    (void)session;
    struct http2_stream *s = known(leg, id);
    if (s == NULL)
        return 0;
    if (!s->heard && (!s->sent || code == NGHTTP2_REFUSED_STREAM)) { /* by GOAWAY, too */
        http2_again(leg->h, s);
        return 0;
    }
    if (!s->app_ended)
        http2_queue_reset(leg, s, code);
    s->closed = true;
    http2_stream_done(leg->h, s);
    return 0;
}

/* --- what it is told ------------------------------------------------------------------------------------------------- */

static int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct http2_leg *leg = user;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct http2_stream *s = known(leg, frame->hd.stream_id);
    if (s == NULL || s->sent)
        return 0;
    s->sent = true;
    if (s->grant > 0)
        nghttp2_submit_window_update(session, 0, (int32_t)s->id, (int32_t)s->grant);
    return 0;
}

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *user) {
    struct http2_leg *leg = user;
    (void)source;
    struct http2_stream *s = known(leg, id);
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (s->body.n == 0 && !s->client_ended)
        return NGHTTP2_ERR_DEFERRED;
    n = n < s->body.n ? n : s->body.n;
    if (n > 0)
        memcpy(to, s->body.p + s->body.from, n);
    http2_octets_drop(&s->body, n);
    leg->h->held -= n;
    http2_took(leg->h, s, n);
    if (s->body.n > 0 || !s->client_ended)
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->trailers.count > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        nghttp2_nv *nv = http2_fields_nv(&s->trailers);
        if (nv == NULL || nghttp2_submit_trailer(session, id, nv, s->trailers.count) != 0)
            n = (size_t)NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        free(nv);
    }
    return (ssize_t)n;
}

static nghttp2_session *session_new(struct http2_leg *leg) {
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session *session = NULL;
    if (nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_sent);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_http_messaging(option, 1); /* the client judges what it gets */
        nghttp2_option_set_max_send_header_block_length(option, HTTP2_FIELDS_OCTETS * 2);
        if (nghttp2_session_client_new2(&session, callbacks, leg, option) != 0)
            session = NULL;
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return session;
}

/* The app may send on a stream what the client takes on it; on the connection, what we hold for the client. */
static bool begin(struct http2_leg *leg) {
    nghttp2_settings_entry set[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)leg->h->client_window},
    };
    leg->session = session_new(leg);
    if (leg->session == NULL)
        return false;
    leg->old = leg->queue.n;
    leg->going = leg->failed = false;
    leg->lost_at = EXCHANGE_NEVER;
    return nghttp2_submit_settings(leg->session, 0, set, 2) == 0 &&
           nghttp2_session_set_local_window_size(leg->session, 0, 0, HTTP2_LEG_WINDOW) == 0;
}

bool http2_leg_may(const struct http2_leg *leg) {
    return !leg->going && !leg->failed && leg->lost_at == EXCHANGE_NEVER;
}

static nghttp2_priority_spec priority(const struct http2_stream *s) {
    nghttp2_priority_spec spec;
    nghttp2_priority_spec_default_init(&spec);
    uint32_t on = http2_u32(s->priority);
    if ((s->flags & HTTP2_HAS_PRIORITY) && (on & 0x7fffffff) != s->id)
        nghttp2_priority_spec_init(&spec, (int32_t)(on & 0x7fffffff), s->priority[4] + 1,
                                   (int)(on >> 31));
    return spec;
}

bool http2_leg_open(struct http2_leg *leg, struct http2_stream *s) {
    if (leg->session == NULL && !begin(leg)) {
        nghttp2_session_del(leg->session);
        leg->session = NULL;
        return false;
    }
    nghttp2_nv *nv = http2_fields_nv(&s->fields);
    nghttp2_data_provider provider = {.read_callback = body};
    nghttp2_priority_spec spec = priority(s);
    bool done = nv != NULL &&
                nghttp2_session_set_next_stream_id(leg->session, (int32_t)s->id) == 0 &&
                nghttp2_submit_request(leg->session, &spec, nv, s->fields.count,
                                       s->client_ended ? NULL : &provider, NULL) == (int32_t)s->id;
    free(nv);
    if (done && leg->state == HTTP2_LEG_NONE) {
        leg->state = HTTP2_LEG_ASKED;
        exchange_ask(leg->h->x, EXCHANGE_APP + leg->slot);
    }
    if (done && leg->state == HTTP2_LEG_UP && s->fields.used > HTTP2_AGAIN)
        http2_fields_free(&s->fields);
    return done;
}

void http2_leg_more(struct http2_leg *leg, struct http2_stream *s) {
    if (!s->again)
        nghttp2_session_resume_data(leg->session,
                                    (int32_t)s->id); /* not deferred: it is asked anyway */
}

void http2_leg_grant(struct http2_leg *leg, struct http2_stream *s, uint32_t n) {
    s->grant = s->grant + n < INT32_MAX ? s->grant + n : INT32_MAX;
    if (s->sent && !s->again)
        nghttp2_submit_window_update(leg->session, 0, (int32_t)s->id, (int32_t)n);
}

void http2_leg_cancel(struct http2_leg *leg, struct http2_stream *s, uint32_t code) {
    if (leg->session != NULL && !s->closed && !s->again)
        nghttp2_submit_rst_stream(leg->session, 0, (int32_t)s->id, code);
}

void http2_leg_window(struct http2_leg *leg, uint32_t initial) {
    nghttp2_settings_entry set = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, initial};
    if (leg->session != NULL)
        nghttp2_submit_settings(leg->session, 0, &set, 1);
}

size_t http2_leg_take(struct http2_leg *leg, const uint8_t *p, size_t n) {
    if (leg->session == NULL || leg->state != HTTP2_LEG_UP)
        return n;
    if (leg->queue.n > 2 * HTTP2_LEG_WINDOW)
        return 0; /* heads without end: DATA is bounded by the window */
    n = n < HTTP2_FRAME_MOST ? n : HTTP2_FRAME_MOST;
    ssize_t took = nghttp2_session_mem_recv(leg->session, p, n);
    if (took < 0)
        leg->failed = true;
    return n;
}

void http2_leg_pump(struct http2_leg *leg) {
    unsigned party = EXCHANGE_APP + leg->slot;
    while (leg->state == HTTP2_LEG_UP && !leg->failed && !exchange_full(leg->h->x, party)) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(leg->session, &p);
        if (n < 0)
            leg->failed = true;
        if (n <= 0)
            break;
        exchange_send(leg->h->x, party, p, (size_t)n);
    }
}

void http2_leg_consumed(struct http2_leg *leg, size_t n) {
    if (leg->session != NULL && nghttp2_session_consume_connection(leg->session, n) != 0)
        leg->failed = true;
}

void http2_leg_free(struct http2_leg *leg) {
    nghttp2_session_del(leg->session);
    http2_fields_free(&leg->fields);
    http2_octets_free(&leg->queue);
}
