/* See mirror_rate.h. */
#include "agent/mirror_rate.h"

#define SECOND 1000000000ull

void mirror_rate_init(struct mirror_rate *r) {
    *r = (struct mirror_rate){0};
    TAILQ_INIT(&r->shares);
}

static void new_period(struct mirror_rate *r, uint64_t now) {
    struct mirror_share *s;
    uint64_t ms = (now - r->period) / 1000000;
    r->expected = 0;
    TAILQ_FOREACH(s, &r->shares, order) {
        s->expected = ms ? s->octets * 1000 / ms : 0;
        r->expected += s->expected;
        s->octets = 0;
    }
    r->average = r->count ? r->expected / r->count : 0;
    r->octets = 0;
    r->period = now;
}

void mirror_rate_set(struct mirror_rate *r, uint64_t rate, uint64_t now) {
    r->rate = rate < INT64_MAX / 4 ? rate : INT64_MAX / 4;
    r->bucket = (int64_t)r->rate;
    r->filled = now;
    new_period(r, now);
}

/* What comes in `ns` at this rate; two seconds' at most, which is from the deepest debt to the brim. */
static uint64_t worth(const struct mirror_rate *r, uint64_t ns) {
    if (ns > 2 * SECOND)
        ns = 2 * SECOND;
    return r->rate / SECOND * ns + r->rate % SECOND * ns / SECOND;
}

static void fill(struct mirror_rate *r, uint64_t now) {
    uint64_t more = worth(r, now - r->filled);
    if (more == 0)
        return;
    r->filled = now;
    int64_t room = (int64_t)r->rate - r->bucket;
    r->bucket += more < (uint64_t)room ? (int64_t)more : room;
}

bool mirror_rate_allows(struct mirror_rate *r, uint64_t now) {
    if (r->rate == 0)
        return true;
    fill(r, now);
    /* A measure that is old says nothing: nobody has sent anything since. */
    bool expects = now - r->period < SECOND && r->expected >= r->rate;
    return r->bucket >= (int64_t)(r->rate / 2) && !expects;
}

void mirror_rate_begin(struct mirror_rate *r, struct mirror_share *s) {
    *s = (struct mirror_share){.begun = true, .expected = r->average};
    TAILQ_INSERT_TAIL(&r->shares, s, order);
    r->expected += s->expected;
    r->count++;
}

void mirror_rate_end(struct mirror_rate *r, struct mirror_share *s) {
    if (!s->begun)
        return;
    TAILQ_REMOVE(&r->shares, s, order);
    r->octets -= s->octets;
    r->expected -= s->expected;
    r->count--;
    s->begun = false;
}

/* A debt of a second is the most: what is longer ago is forgiven. */
static void spend(struct mirror_rate *r, uint64_t octets) {
    int64_t left = r->bucket + (int64_t)r->rate;
    r->bucket = octets < (uint64_t)left ? r->bucket - (int64_t)octets : -(int64_t)r->rate;
}

void mirror_rate_spend(struct mirror_rate *r, struct mirror_share *s, uint64_t octets) {
    if (r->rate == 0)
        return;
    spend(r, octets);
    s->octets += octets;
    r->octets += octets;
}

bool mirror_rate_datagram(struct mirror_rate *r, uint64_t octets, uint64_t now) {
    if (r->rate == 0)
        return true;
    fill(r, now);
    if (r->bucket <= 0)
        return false;
    spend(r, octets);
    return true;
}

/* The youngest that sent something, unless it is the only one. */
static struct mirror_share *youngest(const struct mirror_rate *r) {
    struct mirror_share *s;
    TAILQ_FOREACH_REVERSE(s, &r->shares, mirror_shares, order) {
        if (s->octets > 0)
            return s->octets < r->octets ? s : NULL;
    }
    return NULL;
}

struct mirror_share *mirror_rate_excess(struct mirror_rate *r, uint64_t now) {
    if (r->rate == 0 || now - r->period < MIRROR_RATE_PERIOD)
        return NULL;
    fill(r, now);
    /* Of a period longer than a second nobody was there to be ended: it is no measure. */
    struct mirror_share *s = NULL;
    if (r->bucket < 0 && now - r->period < SECOND && r->octets > worth(r, now - r->period))
        s = youngest(r);
    if (!s)
        new_period(r, now);
    return s;
}
