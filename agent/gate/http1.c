/* What happens to the connection besides octets: parties come, refuse, are lost; time passes. */
#include "agent/gate/http1_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct http1 *http1_new(struct exchange *x) {
    struct http1 *h = calloc(1, sizeof *h);
    if (h == NULL)
        return NULL;
    h->x = x;
    h->dest = EXCHANGE_TARGET;
    h->lost_at = h->linger_at = EXCHANGE_NEVER;
    return h;
}

void http1_free(struct http1 *h) {
    if (h != NULL)
        http1_held_free(&h->held);
    free(h);
}

size_t http1_offer(struct http1 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now) {
    size_t taken = party == EXCHANGE_CLIENT ? http1_request(h, p, n, end, now)
                                            : http1_reply(h, party, p, n, end, now);
    if (h->x->draining && h->phase != HTTP1_CLOSING && taken > 0)
        h->linger_at = now + HTTP1_LINGER;
    return taken;
}

void http1_drop_leg(struct http1 *h, unsigned party) {
    h->leg[party - EXCHANGE_APP] = HTTP1_LEG_NONE;
    exchange_cut(h->x, party);
}

void http1_give_up(struct http1 *h, enum exchange_why why) {
    h->phase = HTTP1_GIVEN_UP;
    h->why = (uint8_t)why;
    if (!http1_app_owes(h))
        exchange_raw(h->x, EXCHANGE_TARGET, why);
}

void http1_close(struct http1 *h, uint64_t now) {
    exchange_end(h->x, EXCHANGE_CLIENT);
    if (!h->target_lost)
        exchange_end(h->x, EXCHANGE_TARGET);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++) {
        if (h->leg[k] == HTTP1_LEG_ASKED)
            exchange_cut(h->x, EXCHANGE_APP + k);
        else if (h->leg[k] == HTTP1_LEG_UP && !(h->client_ended && h->dest == EXCHANGE_APP + k))
            exchange_end(h->x, EXCHANGE_APP + k);
        h->leg[k] = HTTP1_LEG_NONE;
    }
    h->count = 0;
    h->phase = HTTP1_CLOSING;
    h->lost_at = EXCHANGE_NEVER;
    h->linger_at = now + HTTP1_LINGER;
    if (h->client_ended)
        h->x->kind = EXCHANGE_OVER;
}

void http1_settled(struct http1 *h, uint64_t now) {
    h->lost_at = EXCHANGE_NEVER;
    if (h->client_ended || h->target_lost)
        http1_close(h, now);
    else if (h->phase == HTTP1_GIVEN_UP)
        exchange_raw(h->x, EXCHANGE_TARGET, h->why);
    else if (h->target_ended && !http1_apps_turn(h))
        exchange_raw(h->x, EXCHANGE_TARGET, EXCHANGE_WHY_ENDED);
    else if (h->phase == HTTP1_AWAITS)
        h->phase = HTTP1_IN_HEAD;
}

static const char gone[] = "mirror-run: the app that was given this request is gone\n";

static void answer_502(struct http1 *h) {
    char head[200];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\n"
                     "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                     sizeof gone - 1);
    exchange_send(h->x, EXCHANGE_CLIENT, head, (size_t)n);
    if (!(h->pending[h->first] & HTTP1_HEAD_METHOD))
        exchange_send(h->x, EXCHANGE_CLIENT, gone, sizeof gone - 1);
}

/* The target is asked what the app was. */
static void again(struct http1 *h) {
    if (h->leg[h->dest - EXCHANGE_APP] != HTTP1_LEG_NONE)
        http1_drop_leg(h, h->dest);
    h->dest = EXCHANGE_TARGET;
    h->lost_at = EXCHANGE_NEVER;
    exchange_send(h->x, EXCHANGE_TARGET, h->held.p, h->held.n);
    http1_held_done(&h->held);
    if (h->last || h->client_ended)
        exchange_raw(h->x, EXCHANGE_TARGET,
                     h->client_ended ? EXCHANGE_WHY_ENDED : EXCHANGE_WHY_LAST);
    else if (h->phase == HTTP1_GIVEN_UP)
        exchange_raw(h->x, EXCHANGE_TARGET, h->why);
}

void http1_lost(struct http1 *h, uint64_t now) {
    unsigned party = h->dest;
    uint8_t policy = h->x->rules->slot[party - EXCHANGE_APP].on_app_gone;
    if (policy == EXCHANGE_GONE_TARGET && h->held.may && h->count == 1 && !h->answer.begun &&
        !h->target_lost && !h->target_ended) {
        again(h);
        return;
    }
    if (policy != EXCHANGE_GONE_502 || h->count == 0 || h->answer.begun) {
        exchange_cut_all(h->x);
        return;
    }
    if (h->leg[party - EXCHANGE_APP] != HTTP1_LEG_NONE)
        http1_drop_leg(h, party);
    answer_502(h);
    http1_close(h, now);
}

void http1_reset(struct http1 *h, unsigned party, uint64_t now) {
    if (h->phase == HTTP1_CLOSING)
        return;
    bool busy = http1_apps_turn(h);
    if (party == EXCHANGE_TARGET) {
        h->target_lost = true;
        if (!busy)
            exchange_cut_all(h->x);
        return;
    }
    h->leg[party - EXCHANGE_APP] = HTTP1_LEG_NONE;
    if (busy && party == h->dest)
        http1_lost(h, now);
}

void http1_accepted(struct http1 *h, unsigned party) {
    if (h->leg[party - EXCHANGE_APP] == HTTP1_LEG_ASKED)
        h->leg[party - EXCHANGE_APP] = HTTP1_LEG_UP;
}

void http1_refused(struct http1 *h, unsigned party) {
    if (h->leg[party - EXCHANGE_APP] != HTTP1_LEG_ASKED)
        return;
    h->leg[party - EXCHANGE_APP] = HTTP1_LEG_NONE;
    if (h->phase == HTTP1_ROUTED && h->next == party)
        h->next = EXCHANGE_TARGET;
}

void http1_link(struct http1 *h, unsigned slot, bool up, uint64_t now) {
    unsigned party = EXCHANGE_APP + slot;
    bool busy = party == h->dest && (h->count > 0 || h->phase == HTTP1_IN_BODY);
    if (busy) {
        h->lost_at = up ? EXCHANGE_NEVER : now + h->x->rules->slot[slot].link_lost_after;
        return;
    }
    if (up || h->leg[slot] == HTTP1_LEG_NONE || h->phase == HTTP1_CLOSING)
        return;
    bool asked = h->leg[slot] == HTTP1_LEG_ASKED;
    http1_drop_leg(h, party);
    if ((asked || h->phase == HTTP1_ROUTED) && h->next == party)
        h->next = EXCHANGE_TARGET;
}

void http1_gone(struct http1 *h, unsigned slot, uint64_t now) {
    unsigned party = EXCHANGE_APP + slot;
    bool busy = party == h->dest && (h->count > 0 || h->phase == HTTP1_IN_BODY);
    if (h->phase == HTTP1_CLOSING)
        return;
    if (busy)
        http1_lost(h, now);
    else
        http1_link(h, slot, false, now);
}

void http1_drain(struct http1 *h, uint64_t now) {
    if (h->phase == HTTP1_CLOSING)
        return;
    h->linger_at = now + HTTP1_LINGER;
}

uint64_t http1_deadline(const struct http1 *h) {
    return h->lost_at < h->linger_at ? h->lost_at : h->linger_at;
}

void http1_tick(struct http1 *h, uint64_t now) {
    if (now >= h->lost_at) {
        h->lost_at = EXCHANGE_NEVER;
        http1_lost(h, now);
        return;
    }
    if (now < h->linger_at)
        return;
    h->linger_at = EXCHANGE_NEVER;
    if (h->phase == HTTP1_CLOSING)
        h->x->kind = EXCHANGE_OVER;
    else if (h->count == 0 && h->phase == HTTP1_IN_HEAD && h->head.at == 0)
        http1_close(h, now); /* idle while we drain */
    else
        h->linger_at = now + HTTP1_LINGER;
}
