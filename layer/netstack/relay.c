/* See relay.h. */
#include "layer/netstack/relay.h"
#include "layer/netstack/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PARTS      32                 /* pbufs in one channel_sendv */
#define HELD_MAX   (64 * 1024 * 1024) /* octets of all flows; then those lose packets that hold */
#define HELD_LEAST (64 * 1024)        /* more than this */

/* --- up --------------------------------------------------------------------------------------------------------------- */

static void unhold(struct flow *f, size_t n) {
    f->ns->counters.held -= n;
}

bool relay_full(const struct flow *f) {
    return f->ns->counters.held > HELD_MAX && f->up_len > HELD_LEAST;
}

uint32_t relay_window(const struct netstack *ns, const struct mux *m) {
    uint32_t n = ns->flows.count;
    return mux_window(m, n < 64 ? TCP_SND_BUF : n < 1024 ? TCP_SND_BUF / 4 : TCP_SND_BUF / 16);
}

/* The window is given back in steps that lwIP's u16 can say. */
static void received(struct flow *f, size_t n) {
    while (f->pcb && n) {
        u16_t step = (u16_t)(n < 0xffff ? n : 0xffff);
        tcp_recved(f->pcb, step);
        n -= step;
    }
}

/* Sends at most `room` octets from the head of the queue; returns how many there were. */
static size_t send_some(struct flow *f, size_t room) {
    struct iovec iov[PARTS];
    int parts = 0;
    size_t n = 0;
    CHECK(f->up_first && room);
    for (struct pbuf *b = f->up_first; b && parts < PARTS && n < room; b = b->next) {
        size_t part = b->len < room - n ? b->len : room - n;
        iov[parts++] = (struct iovec){b->payload, part};
        n += part;
    }
    channel_sendv(&f->channel, iov, parts);
    for (size_t left = n; left;) {
        struct pbuf *b = f->up_first;
        if (b->len > left) {
            b->payload = (uint8_t *)b->payload + left;
            b->len = b->tot_len = (u16_t)(b->len - left);
            break;
        }
        left -= b->len;
        f->up_first = b->next;
        b->next = NULL;
        pbuf_free(b);
    }
    f->up_len -= n;
    unhold(f, n);
    return n;
}

void relay_push(struct flow *f) {
    while (f->up_first && channel_attached(&f->channel)) {
        size_t room = channel_room(&f->channel);
        if (!room) {
            if (!f->wants_room) {
                f->wants_room = true;
                channel_want_room(&f->channel);
            }
            return;
        }
        received(f, send_some(f, room));
    }
    if (f->up_eof && !f->up_eof_told && !f->up_first) {
        f->up_eof_told = true;
        channel_eof(&f->channel);
        if (!f->pcb) /* both ends are over: the channel is forgotten with this, and no callback says so */
            flow_reap(f);
    }
}

static void drop_answer(struct flow *f, struct pbuf *b) {
    size_t n = b->tot_len;
    f->ns->counters.answers += n;
    pbuf_free(b);
    received(f, n);
}

static void queue_up(struct flow *f, struct pbuf *b) {
    f->ns->counters.held += b->tot_len;
    f->up_len += b->tot_len;
    while (b) { /* a chain becomes single pbufs: its tot_len would overflow as they add up */
        struct pbuf *next = b->next;
        b->next = NULL;
        b->tot_len = b->len;
        if (f->up_first)
            f->up_last->next = b;
        else
            f->up_first = b;
        f->up_last = b;
        b = next;
    }
}

static err_t on_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *b, err_t err) {
    struct flow *f = arg;
    (void)pcb, (void)err;
    accepted_heard(f);
    if (!b)
        f->up_eof = true;
    else if (f->mirror)
        drop_answer(f, b);
    else
        queue_up(f, b);
    relay_push(f);
    return ERR_OK;
}

/* --- down ------------------------------------------------------------------------------------------------------------- */

/* What lwIP takes of it now; the rest is a matter of its queue of pbufs, not of the window. */
static size_t write_some(struct flow *f, const uint8_t *p, size_t n) {
    size_t done = 0;
    while (done < n) {
        size_t step = n - done < TCP_MSS ? n - done : TCP_MSS;
        if (step > tcp_sndbuf(f->pcb) ||
            tcp_write(f->pcb, p + done, (u16_t)step, TCP_WRITE_FLAG_COPY) != ERR_OK)
            break;
        done += step;
    }
    return done;
}

/* At most a window waits here: the mux sees to it that the agent keeps to what was granted. */
static bool hold_down(struct flow *f, const uint8_t *p, size_t n) {
    if (!backlog_push(&f->down, &f->ns->chunks, p, n))
        return false;
    f->ns->counters.held += n;
    return true;
}

static void pump_down(struct flow *f) {
    if (f->state != FLOW_LIVE || !f->pcb)
        return;
    while (f->down.len) {
        size_t all;
        const uint8_t *p = backlog_front(&f->down, &all);
        size_t n = write_some(f, p, all);
        backlog_drop(&f->down, &f->ns->chunks, n);
        unhold(f, n);
        if (n < all)
            break;
    }
    if (f->down_eof && !f->down_eof_told && !f->down.len) {
        f->down_eof_told = true;
        tcp_shutdown(f->pcb, 0, 1); /* out of memory: lwIP tries again by itself (TF_CLOSEPEND) */
    }
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t n) {
    struct flow *f = arg;
    (void)pcb;
    channel_grant(&f->channel, n);
    pump_down(f);
    return ERR_OK;
}

/* --- ends ------------------------------------------------------------------------------------------------------------- */

static void on_err(void *arg, err_t err) {
    struct flow *f = arg;
    bool refused = f->state == FLOW_DIALLING || f->state == FLOW_QUEUED;
    f->pcb = NULL; /* lwIP frees it */
    if (err == ERR_RST)
        f->why = refused ? ECONNREFUSED : ECONNRESET;
    else
        f->why = ETIMEDOUT;
    syn_input(f, err == ERR_CLSD ? IN_ENDED : IN_GONE);
}

void relay_attach(struct flow *f) {
    tcp_arg(f->pcb, f);
    tcp_recv(f->pcb, on_recv);
    tcp_sent(f->pcb, on_sent);
    tcp_err(f->pcb, on_err);
    tcp_nagle_disable(f->pcb);
}

void relay_detach(struct flow *f) {
    tcp_arg(f->pcb, NULL);
    tcp_recv(f->pcb, NULL);
    tcp_sent(f->pcb, NULL);
    tcp_err(f->pcb, NULL);
}

void relay_start(struct flow *f) {
    pump_down(f);
}

void relay_drop(struct flow *f) {
    while (f->up_first) {
        struct pbuf *b = f->up_first;
        f->up_first = b->next;
        b->next = NULL;
        unhold(f, b->len);
        pbuf_free(b);
    }
    unhold(f, f->down.len);
    backlog_clear(&f->down, &f->ns->chunks);
}

/* --- the channel ------------------------------------------------------------------------------------------------------ */

static struct flow *of(struct channel *c) {
    return container_of(c, struct flow, channel);
}

static void on_opened(struct channel *c) {
    syn_input(of(c), IN_OPENED);
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct flow *f = of(c);
    size_t done = 0;
    if (f->state == FLOW_LIVE && f->pcb && !f->down.len)
        done = write_some(f, p, n);
    if (f->state == FLOW_DRAINING) { /* the app has closed: nobody reads it */
        channel_grant(c, n);
        return;
    }
    if (done < n && !hold_down(f, p + done, n - done)) {
        channel_reset(c, ENOMEM);
        f->fate = ENOMEM;
        flow_reap(f);
        return;
    }
    sight_output(f);
}

static void on_room(struct channel *c) {
    struct flow *f = of(c);
    f->wants_room = false;
    relay_push(f);
    if (f->pcb)
        sight_settle(f);
}

static void on_eof(struct channel *c) {
    struct flow *f = of(c);
    f->down_eof = true;
    pump_down(f);
    if (f->pcb)
        sight_settle(f);
    else
        flow_reap(f);
}

/* From inside any call of ours to the mux, too (a link that breaks resets all its channels): acted on after the batch. */
static void on_reset(struct channel *c, int err) {
    struct flow *f = of(c);
    f->fate = err ? err : ECONNRESET;
    flow_reap(f);
}

const struct channel_ops relay_ops = {
    .opened = on_opened, .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};
