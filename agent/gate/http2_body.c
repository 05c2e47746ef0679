/* What the client sends on taken streams: held until their app takes it, and repaid to the client's windows in the target's
 * stead. */
#include "agent/gate/http2_inner.h"

void http2_took(struct http2 *h, struct http2_stream *s, size_t n) {
    if (n == 0 || s->client_ended || s->closed)
        return;
    s->window += (int64_t)n;
    http2_control(h, HTTP2_WINDOW_UPDATE, s->id, (uint32_t)n);
}

static void abandon(struct http2 *h, struct http2_stream *s, uint32_t code) {
    struct http2_leg *leg = &h->leg[s->slot];
    http2_leg_cancel(leg, s, code);
    http2_control(h, HTTP2_RST_STREAM, s->id, code);
    http2_stream_free(h, s);
}

void http2_body_end(struct http2 *h) {
    struct http2_stream *s = http2_stream_find(h, h->stream);
    if (s == NULL || s->closed)
        return;
    if (h->body_ends)
        s->client_ended = true;
    else
        http2_took(h, s, h->body_beside);
    http2_leg_more(&h->leg[s->slot], s);
}

void http2_body_begin(struct http2 *h, const struct http2_frame *f) {
    h->what = HTTP2_BODY;
    h->stream = f->stream;
    h->body_padded = f->flags & HTTP2_PADDED;
    h->body_ends = f->flags & HTTP2_END_STREAM;
    h->body_padding = 0;
    h->body_beside = 0;
    struct http2_stream *s = http2_stream_find(h, f->stream);
    if (s != NULL && !s->closed) {
        s->window -= f->length;
        if (s->window < 0)
            abandon(h, s, HTTP2_FLOW_CONTROL_ERROR);
    }
    if (f->length == 0)
        http2_body_end(h);
}

/* n octets of its payload, of which `left` were still to come. */
void http2_body(struct http2 *h, const uint8_t *p, size_t n) {
    struct http2_stream *s = http2_stream_find(h, h->stream);
    bool dead = s == NULL || s->closed;
    if (!dead && (s->again || h->leg[s->slot].state != HTTP2_LEG_UP)) {
        s->unpaid += (uint32_t)n;
    } else {
        h->repay += (uint32_t)n;
        if (!dead)
            s->repaid += (uint32_t)n;
    }
    size_t left = h->left;
    if (h->body_padded) {
        h->body_padding = p[0];
        h->body_beside = (uint16_t)(p[0] + 1);
        h->body_padded = false;
        p++, n--, left--;
    }
    size_t data = left > h->body_padding ? left - h->body_padding : 0;
    data = data < n ? data : n;
    if (dead || data == 0)
        return;
    if (http2_octets_add(&s->body, p, data))
        h->held += data;
    else
        abandon(h, s, HTTP2_INTERNAL_ERROR);
}
