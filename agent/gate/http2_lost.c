/* What becomes of an app's streams when it is gone, or has not come: the client is told, or the target is given them. */
#include "agent/gate/http2_inner.h"

static void forget(struct http2_leg *leg) {
    nghttp2_session_del(leg->session);
    leg->session = NULL;
    leg->state = HTTP2_LEG_NONE;
    leg->going = leg->failed = leg->refused = false;
    leg->lost_at = EXCHANGE_NEVER;
    leg->old = leg->queue.n;
}

static void answer_502(struct http2_leg *leg, struct http2_stream *s) {
    static const uint8_t status[] = ":status", gone[] = "502";
    struct http2_fields l = {0};
    if (!http2_fields_add(&l, status, 7, gone, 3, 0) || !http2_queue_block(leg, s, &l, true) ||
        (!s->client_ended && !http2_queue_reset(leg, s, HTTP2_NO_ERROR)))
        leg->failed = true;
    http2_fields_free(&l);
}

static void lose(struct http2_leg *leg, struct http2_stream *s) {
    const struct exchange_rule *rule = &leg->h->x->rules->slot[leg->slot];
    if (s->app_ended) {
        /* all of its answer is on its way */
    } else if (!s->sent) {
        http2_queue_reset(leg, s,
                          HTTP2_REFUSED_STREAM); /* nothing was done: the client may try again */
    } else if (rule->on_app_gone == EXCHANGE_GONE_502 && !s->answered) {
        answer_502(leg, s);
    } else {
        http2_queue_reset(leg, s, HTTP2_INTERNAL_ERROR);
    }
    s->closed = true;
    http2_stream_done(leg->h, s);
}

void http2_leg_lost(struct http2_leg *leg) {
    struct http2 *h = leg->h;
    for (size_t i = h->streams_n; i > 0; i--)
        if (h->streams[i - 1]->slot == leg->slot && !h->streams[i - 1]->closed)
            lose(leg, h->streams[i - 1]);
    forget(leg);
}

void http2_leg_refused(struct http2_leg *leg) {
    struct http2 *h = leg->h;
    for (size_t i = 0; i < h->streams_n;) {
        struct http2_stream *s = h->streams[i];
        bool ours = s->slot == leg->slot && !s->closed;
        if (ours && s->id > h->last_target) {
            http2_to_target(h, s);
            http2_stream_free(h, s);
            continue;
        }
        if (ours) { /* the target has seen a higher number: this one it would take for closed */
            http2_queue_reset(leg, s, HTTP2_REFUSED_STREAM);
            s->closed = true;
        }
        i++;
    }
    forget(leg);
}
