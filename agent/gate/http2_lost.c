/* What becomes of an app's streams when it is gone, has not come, or will not have one: what it has not begun, and what may be
 * said twice, is the target's; else the client is told.
 *
 * A stream goes to the target under its own number, so only while that has seen no higher one; and only while the target can
 * be left to repay its body, of which nothing may have been repaid in its stead. Where that is not so the client is told that
 * its request was not begun, after which it may say it again (RFC 9113 8.7), as it may a safe one in any case (RFC 9110 9.2.2). */
#include "agent/gate/http2_inner.h"
#include "agent/http/method.h"

static void forget(struct http2_leg *leg) {
    nghttp2_session_del(leg->session);
    leg->session = NULL;
    leg->state = HTTP2_LEG_NONE;
    leg->going = leg->failed = false;
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

/* --- given to the target ---------------------------------------------------------------------------------------------- */

void http2_again(struct http2 *h, struct http2_stream *s) {
    s->again = true;
    h->again = true;
}

static bool fits(const struct http2 *h, const struct http2_stream *s) {
    return s->id > h->last_target && s->repaid == 0 && s->fields.count > 0 && !h->client_ended &&
           !h->target_ended;
}

void http2_give_away(struct http2 *h) {
    if (!h->again || h->left > 0)
        return;
    h->again = false;
    for (size_t i = 0; i < h->streams_n;) {
        struct http2_stream *s = h->streams[i];
        if (s->again && fits(h, s)) {
            http2_to_target(h, s);
            http2_stream_free(h, s);
            continue;
        }
        if (s->again) {
            s->again = false;
            s->closed = true;
            http2_queue_reset(&h->leg[s->slot], s, HTTP2_REFUSED_STREAM);
        }
        i++;
    }
}

/* --- a lost leg ------------------------------------------------------------------------------------------------------- */

/* Whether it may be asked of another though the app may have begun it. */
static bool repeats(const struct http2_stream *s) {
    size_t n;
    const char *method = http2_fields_find(&s->fields, ":method", &n);
    return method != NULL && http_method_is_safe(method, n);
}

static void lose(struct http2_leg *leg, struct http2_stream *s) {
    uint8_t policy = leg->h->x->rules->slot[leg->slot].on_app_gone;
    if (!s->heard && (!s->sent || (policy == EXCHANGE_GONE_TARGET && repeats(s)))) {
        http2_again(leg->h, s);
        return;
    }
    if (s->app_ended) {
        /* all of its answer is on its way */
    } else if (policy == EXCHANGE_GONE_502 && !s->answered) {
        answer_502(leg, s);
    } else {
        http2_queue_reset(leg, s, HTTP2_INTERNAL_ERROR);
    }
    s->closed = true;
    http2_stream_done(leg->h, s);
}

void http2_leg_lost(struct http2_leg *leg) {
    struct http2 *h = leg->h;
    for (size_t i = h->streams_n; i > 0; i--) {
        struct http2_stream *s = h->streams[i - 1];
        if (s->slot == leg->slot && !s->closed && !s->again)
            lose(leg, s);
    }
    forget(leg);
}
