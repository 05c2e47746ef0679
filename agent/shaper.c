/* See shaper.h. */
#include "agent/shaper.h"

#define TURNS_A_SECOND 64 /* at most: what has come since the last is shared out */
#define SHARE_LEAST    1460 /* octets: a segment; below that more is spent on headers than is shared */

static void go_round(struct timer *t);

void shaper_init(struct shaper *s, struct loop *l) {
    *s = (struct shaper){.loop = l, .timer = {.fire = go_round}};
    TAILQ_INIT(&s->queue);
    bucket_set(&s->bucket, 0, 0);
}

void shaper_fini(struct shaper *s) {
    timer_cancel(s->loop, &s->timer);
}

static void set_timer(struct shaper *s) {
    uint64_t now = loop_now(s->loop);
    size_t enough = (size_t)(s->bucket.rate / TURNS_A_SECOND);
    if (enough < SHARE_LEAST)
        enough = SHARE_LEAST;
    timer_set(s->loop, &s->timer, bucket_when(&s->bucket, enough, now));
}

void shaper_set(struct shaper *s, uint64_t rate) {
    bucket_set(&s->bucket, rate, loop_now(s->loop));
    if (s->waiting)
        set_timer(s);
}

size_t shaper_room(struct shaper *s) {
    if (s->waiting && !s->turning)
        return 0;
    size_t room = bucket_room(&s->bucket, loop_now(s->loop));
    return s->turning && s->share < room ? s->share : room;
}

void shaper_pass(struct shaper *s, size_t octets) {
    bucket_spend(&s->bucket, octets);
    s->share -= octets < s->share ? octets : s->share;
}

void shaper_wait(struct shaper *s, struct shaped *who) {
    if (who->waits)
        return;
    who->waits = true;
    TAILQ_INSERT_TAIL(&s->queue, who, order);
    if (s->waiting++ == 0 && !s->turning)
        set_timer(s);
}

void shaper_leave(struct shaper *s, struct shaped *who) {
    if (!who->waits)
        return;
    who->waits = false;
    TAILQ_REMOVE(&s->queue, who, order);
    if (--s->waiting == 0)
        timer_cancel(s->loop, &s->timer);
}

/* Each that waits at the beginning once; who waits again is behind them. */
static void go_round(struct timer *t) {
    struct shaper *s = container_of(t, struct shaper, timer);
    s->turning = true;
    for (uint32_t left = s->waiting; left && s->waiting; left--) {
        struct shaped *first = TAILQ_FIRST(&s->queue);
        size_t room = bucket_room(&s->bucket, loop_now(s->loop));
        if (room == 0)
            break;
        s->share = room / left > SHARE_LEAST ? room / left : SHARE_LEAST;
        shaper_leave(s, first);
        first->go(first);
    }
    s->turning = false;
    s->share = 0;
    if (s->waiting)
        set_timer(s);
}

bool shaper_datagram(struct shaper *s, size_t octets) {
    if (bucket_room(&s->bucket, loop_now(s->loop)) == 0) {
        s->dropped++;
        return false;
    }
    bucket_spend(&s->bucket, octets);
    return true;
}
