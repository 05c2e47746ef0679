#include "agent/reassembly.h"

#include "native/fault.h"

#include <stdlib.h>
#include <string.h>

/* Sequence numbers are compared by the sign of their difference (RFC 9293 3.4): right while the two are less than 2 GiB
 * apart. What is further than this from the acknowledged edge is no segment of this connection: no window reaches it
 * (RFC 7323 2.3). */
#define REACH (1 << 30)

struct reassembly_segment {
    struct reassembly_segment *next, *prev;
    uint32_t seq, len;
    uint8_t octets[];
};

#define COST(n) (sizeof(struct reassembly_segment) + (n) + 16) /* 16: malloc's own */

static int32_t after(uint32_t a, uint32_t b) {
    return (int32_t)(a - b);
}

static uint32_t end_of(const struct reassembly_segment *s) {
    return s->seq + s->len;
}

void reassembly_begin(struct reassembly *r, struct reassembly_budget *budget, uint32_t next) {
    memset(r, 0, sizeof *r);
    r->budget = budget;
    r->next = r->acked = r->whole = next;
}

static void segment_free(struct reassembly *r, struct reassembly_segment *s) {
    r->held -= COST(s->len);
    r->budget->held -= COST(s->len);
    free(s);
}

void reassembly_drop(struct reassembly *r) {
    while (r->head) {
        struct reassembly_segment *s = r->head;
        r->head = s->next;
        segment_free(r, s);
    }
    r->tail = r->edge = NULL;
    r->late = 0;
    r->next = r->acked = r->whole;
    r->fin_seen = false;
}

static void fail(struct reassembly *r, enum reassembly_end why) {
    reassembly_drop(r);
    r->end = (uint8_t)why;
}

static bool affordable(const struct reassembly *r, size_t cost) {
    size_t left = r->budget->limit > r->budget->held ? r->budget->limit - r->budget->held : 0;
    size_t share = left / 2 < REASSEMBLY_MOST ? left / 2 : REASSEMBLY_MOST;
    return r->held + cost <= share;
}

/* A copy of n octets between `before` and its predecessor; NULL means at the end. */
static bool put(struct reassembly *r, struct reassembly_segment *before, uint32_t seq,
                const uint8_t *p, uint32_t n) {
    struct reassembly_segment *s = NULL;
    if (affordable(r, COST(n)) && r->late < REASSEMBLY_LATE)
        s = malloc(sizeof *s + n);
    if (!s) {
        fail(r, REASSEMBLY_OVERFLOW);
        return false;
    }
    s->seq = seq;
    s->len = n;
    memcpy(s->octets, p, n);
    s->next = before;
    s->prev = before ? before->prev : r->tail;
    *(s->prev ? &s->prev->next : &r->head) = s;
    *(before ? &before->prev : &r->tail) = s;
    r->held += COST(n);
    r->budget->held += COST(n);
    r->late++;
    return true;
}

/* Moves the edge over all that has no gap before it any more. */
static void advance(struct reassembly *r) {
    struct reassembly_segment *s = r->edge ? r->edge->next : r->head;
    for (; s && s->seq == r->whole; s = s->next) {
        r->whole = end_of(s);
        r->edge = s;
        r->late--;
    }
}

/* The first segment that ends behind `seq`, looked for from the place where it is likely to be. */
static struct reassembly_segment *place(const struct reassembly *r, uint32_t seq) {
    if (!r->tail || after(seq, end_of(r->tail)) >= 0)
        return NULL;
    struct reassembly_segment *s = r->edge ? r->edge : r->head;
    while (s->prev && after(end_of(s->prev), seq) > 0)
        s = s->prev;
    while (after(seq, end_of(s)) >= 0)
        s = s->next;
    return s;
}

/* Stores what is new of n octets at `seq`, which is not before `acked`, and compares what is not. */
static void store(struct reassembly *r, uint32_t seq, const uint8_t *p, uint32_t n) {
    struct reassembly_segment *s = place(r, seq);
    while (n > 0) {
        int32_t gap = s ? after(s->seq, seq) : INT32_MAX;
        uint32_t part;
        if (gap > 0) {
            part = n < (uint32_t)gap ? n : (uint32_t)gap;
            if (!put(r, s, seq, p, part))
                return;
        } else {
            uint32_t at = seq - s->seq;
            part = n < s->len - at ? n : s->len - at;
            if (memcmp(s->octets + at, p, part) != 0) {
                fail(r, REASSEMBLY_CONFLICT);
                return;
            }
            s = s->next;
        }
        seq += part;
        p += part;
        n -= part;
    }
    advance(r);
}

/* RFC 5961 3.2 lets a receiver believe a RST only exactly at its next octet. Where that is we know to within what is
 * not yet acknowledged; with SACK it may also be the end of what came out of order. */
static bool reset_is_credible(const struct reassembly *r, uint32_t seq) {
    uint32_t most = r->tail && after(end_of(r->tail), r->acked) > 0 ? end_of(r->tail) : r->acked;
    most += r->fin_seen && r->fin == most;
    return after(seq, r->acked) >= 0 && after(seq, most) <= 0;
}

static void see_fin(struct reassembly *r, uint32_t at) {
    if (r->fin_seen && r->fin != at) {
        fail(r, REASSEMBLY_CONFLICT);
        return;
    }
    r->fin = at;
    r->fin_seen = true;
}

void reassembly_client(struct reassembly *r, const struct tcp_view *t) {
    if (r->end != REASSEMBLY_OPEN)
        return;
    if (t->flags & TCP_FLAG_RST) {
        if (reset_is_credible(r, t->seq))
            r->end = REASSEMBLY_RESET;
        return;
    }
    uint32_t seq = t->seq + ((t->flags & TCP_FLAG_SYN) ? 1 : 0);
    if (t->payload_len >= REACH)
        return;
    uint32_t n = (uint32_t)t->payload_len;
    uint32_t end = seq + n;
    if (after(end, r->acked) < 0 || after(seq, r->acked) >= REACH)
        return;
    uint32_t known = after(r->acked, seq) > 0 ? r->acked - seq : 0;
    if (n > known) {
        if (r->fin_seen && after(end, r->fin) > 0) {
            fail(r, REASSEMBLY_CONFLICT);
            return;
        }
        store(r, seq + known, t->payload + known, n - known);
    }
    if ((t->flags & TCP_FLAG_FIN) && r->end == REASSEMBLY_OPEN)
        see_fin(r, end);
}

void reassembly_target(struct reassembly *r, const struct tcp_view *t) {
    if (r->end != REASSEMBLY_OPEN)
        return;
    if (t->flags & TCP_FLAG_ACK) {
        int32_t more = after(t->ack, r->acked);
        bool ended = r->fin_seen && r->fin == r->whole;
        if (more > 0 && more < REACH) {
            if (after(t->ack, r->whole + ended) > 0) {
                fail(r, REASSEMBLY_HOLE);
                return;
            }
            r->acked = t->ack;
        }
        if (ended && r->acked == r->fin + 1)
            r->end = REASSEMBLY_EOF;
    }
    if (t->flags & TCP_FLAG_RST)
        r->end = REASSEMBLY_RESET;
}

size_t reassembly_readable(const struct reassembly *r) {
    /* A FIN is no octet, and a RST may have come in the segment that acknowledged it. */
    bool past_fin = r->fin_seen && r->acked == r->fin + 1;
    return r->acked - r->next - past_fin;
}

int reassembly_peek(const struct reassembly *r, struct iovec *iov, int count) {
    size_t left = reassembly_readable(r);
    uint32_t at = r->next;
    int filled = 0;
    for (struct reassembly_segment *s = r->head; left > 0 && filled < count; s = s->next) {
        uint32_t skip = at - s->seq;
        size_t n = s->len - skip < left ? s->len - skip : left;
        iov[filled++] = (struct iovec){s->octets + skip, n};
        at += (uint32_t)n;
        left -= n;
    }
    return filled;
}

void reassembly_consume(struct reassembly *r, size_t n) {
    CHECK(n <= reassembly_readable(r));
    r->next += (uint32_t)n;
    while (r->head && after(end_of(r->head), r->next) <= 0) {
        struct reassembly_segment *s = r->head;
        r->head = s->next;
        *(s->next ? &s->next->prev : &r->tail) = NULL;
        if (r->edge == s)
            r->edge = NULL;
        segment_free(r, s);
    }
}
