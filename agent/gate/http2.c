/* The connection besides its frames: parties come, refuse, are lost; ends; time. */
#include "agent/gate/http2_inner.h"

#include <stdlib.h>
#include <string.h>

struct http2 *http2_new(struct exchange *x) {
    struct http2 *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->x = x;
    h->client_window = h->target_window = h->room = 65535; /* RFC 9113 6.9.2 */
    h->size = 4096;                                        /* RFC 9113 6.5.2 */
    h->size_owed = UINT32_MAX;
    h->linger_at = EXCHANGE_NEVER;
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        h->leg[k] = (struct http2_leg){.h = h, .slot = (uint8_t)k, .lost_at = EXCHANGE_NEVER};
    if (nghttp2_hd_inflate_new(&h->inflater) != 0) {
        free(h);
        return NULL;
    }
    return h;
}

void http2_free(struct http2 *h) {
    if (h == NULL)
        return;
    while (h->streams_n > 0)
        http2_stream_free(h, h->streams[h->streams_n - 1]);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        http2_leg_free(&h->leg[k]);
    nghttp2_hd_inflate_del(h->inflater);
    http2_deflater_free(h->to_target);
    http2_deflater_free(h->to_client);
    http2_fields_free(&h->fields);
    http2_octets_free(&h->control);
    free(h->streams);
    free(h->mine);
    free(h);
}

void http2_broken(struct http2 *h, enum exchange_why why) {
    if (h->taken)
        exchange_cut_all(h->x);
    else
        exchange_raw(h->x, EXCHANGE_TARGET, why);
}

static bool alive(const struct http2 *h) {
    return h->x->kind == EXCHANGE_HTTP2 && !h->closing;
}

static bool has_streams(const struct http2 *h, unsigned slot) {
    for (size_t i = 0; i < h->streams_n; i++)
        if (h->streams[i]->slot == slot && !h->streams[i]->closed && !h->streams[i]->again)
            return true;
    return false;
}

static void cut_leg(struct http2 *h, unsigned slot) {
    if (h->leg[slot].state != HTTP2_LEG_NONE)
        exchange_cut(h->x, EXCHANGE_APP + slot);
    http2_leg_lost(&h->leg[slot]);
}

/* The target has ended, and the taken streams have: so does the connection. */
static void close_all(struct http2 *h) {
    h->closing = true;
    h->linger_at = h->now + HTTP2_LINGER;
    exchange_end(h->x, EXCHANGE_CLIENT);
    if (!h->client_ended)
        exchange_end(h->x, EXCHANGE_TARGET);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        if (h->leg[k].state != HTTP2_LEG_NONE)
            cut_leg(h, k);
    if (h->client_ended)
        h->x->kind = EXCHANGE_OVER;
}

/* After every call: what it made possible is done. */
static void settle(struct http2 *h) {
    if (!alive(h) || !h->taken)
        return;
    http2_give_away(h);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++) {
        struct http2_leg *leg = &h->leg[k];
        http2_leg_pump(leg);
        if (leg->failed || (leg->going && !has_streams(h, k)))
            cut_leg(h, k);
    }
    http2_give_away(h);
    http2_pump(h);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        http2_leg_pump(&h->leg[k]); /* windows that the pump has freed */
    if (h->target_ended && h->streams_n == 0 && h->control.n == 0)
        close_all(h);
}

static void client_ended(struct http2 *h) {
    if (!h->taken) {
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
    } else if (!h->client_ended) {
        h->client_ended = true;
        exchange_end(h->x, EXCHANGE_TARGET);
    }
}

static size_t from_client(struct http2 *h, const uint8_t *p, size_t n, bool end) {
    if (h->client_ended)
        return n;
    size_t at = http2_client(h, p, n);
    bool never =
        at < n && !h->stuck && h->control.n < HTTP2_CONTROL; /* a frame that is not whole */
    if (!end || !alive(h) || (at < n && !never))
        return at;
    client_ended(h);
    return h->x->kind == EXCHANGE_HTTP2 ? n : at;
}

static size_t from_target(struct http2 *h, const uint8_t *p, size_t n, bool end) {
    size_t at = http2_target(h, p, n);
    if (!end || at < n || !alive(h))
        return at;
    h->target_ended = true;
    if (!h->taken)
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
    return at;
}

static size_t from_app(struct http2 *h, unsigned party, const uint8_t *p, size_t n, bool end) {
    struct http2_leg *leg = &h->leg[party - EXCHANGE_APP];
    size_t at = 0, took;
    do {
        took = http2_leg_take(leg, p + at, n - at);
        at += took;
    } while (at < n && took > 0 && !leg->failed);
    if (end && at == n && leg->state == HTTP2_LEG_UP && !leg->failed) {
        http2_leg_lost(leg);
        exchange_end(h->x, party);
    }
    return at;
}

size_t http2_offer(struct http2 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now) {
    size_t at = n;
    h->now = now;
    if (h->closing) {
        if (party == EXCHANGE_CLIENT && end)
            h->x->kind = EXCHANGE_OVER;
        return n;
    }
    if (party == EXCHANGE_CLIENT)
        at = from_client(h, p, n, end);
    else if (party == EXCHANGE_TARGET)
        at = from_target(h, p, n, end);
    else
        at = from_app(h, party, p, n, end);
    settle(h);
    return at;
}

void http2_room(struct http2 *h) {
    settle(h);
}

void http2_reset(struct http2 *h, unsigned party) {
    if (h->closing)
        return;
    if (party == EXCHANGE_TARGET) {
        exchange_cut_all(h->x);
        return;
    }
    http2_leg_lost(&h->leg[party - EXCHANGE_APP]);
    settle(h);
}

void http2_accepted(struct http2 *h, unsigned party) {
    struct http2_leg *leg = &h->leg[party - EXCHANGE_APP];
    if (leg->state != HTTP2_LEG_ASKED)
        return;
    leg->state = HTTP2_LEG_UP;
    for (size_t i = 0; i < h->streams_n; i++) {
        struct http2_stream *s = h->streams[i];
        if (s->slot != leg->slot || s->again)
            continue;
        h->repay += s->unpaid;
        s->repaid += s->unpaid;
        s->unpaid = 0;
        if (s->fields.used > HTTP2_AGAIN)
            http2_fields_free(&s->fields);
    }
    settle(h);
}

void http2_refused(struct http2 *h, unsigned party) {
    struct http2_leg *leg = &h->leg[party - EXCHANGE_APP];
    if (leg->state != HTTP2_LEG_ASKED)
        return;
    http2_leg_lost(leg);
    settle(h);
}

void http2_link(struct http2 *h, unsigned slot, bool up, uint64_t now) {
    struct http2_leg *leg = &h->leg[slot];
    h->now = now;
    if (up || leg->state == HTTP2_LEG_NONE) {
        leg->lost_at = EXCHANGE_NEVER;
    } else if (leg->state == HTTP2_LEG_UP && has_streams(h, slot)) {
        leg->lost_at = now + h->x->rules->slot[slot].link_lost_after;
    } else {
        cut_leg(h, slot);
        settle(h);
    }
}

void http2_gone(struct http2 *h, unsigned slot) {
    cut_leg(h, slot);
    settle(h);
}

/* A client that is told that the last stream we will see is the highest possible one opens no more on this connection and ends
 * it after those that are open (RFC 9113 6.8). Nothing of that where no octet was changed: that connection is the target's. */
void http2_drain(struct http2 *h) {
    static const uint8_t goaway[] = {0,    0,    8,    HTTP2_GOAWAY, 0, 0, 0, 0, 0,
                                     0x7f, 0xff, 0xff, 0xff,         0, 0, 0, 0};
    if (h->closing)
        return;
    if (!h->taken) {
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_DRAINED);
        return;
    }
    http2_octets_add(&h->control, goaway, sizeof goaway);
    settle(h);
}

uint64_t http2_deadline(const struct http2 *h) {
    uint64_t at = h->linger_at;
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        at = h->leg[k].lost_at < at ? h->leg[k].lost_at : at;
    return at;
}

void http2_tick(struct http2 *h, uint64_t now) {
    h->now = now;
    if (now >= h->linger_at) {
        h->x->kind = EXCHANGE_OVER;
        return;
    }
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        if (now >= h->leg[k].lost_at)
            cut_leg(h, k);
    settle(h);
}
