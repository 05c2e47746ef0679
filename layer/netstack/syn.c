/* See syn.h. */
#include "layer/netstack/syn.h"
#include "layer/netstack/engine.h"
#include "layer/netstack/ip.h"
#include "layer/netstack/relay.h"

#include "lwip/priv/tcp_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull

/* --- the app's SYN, kept ---------------------------------------------------------------------------------------------- */

static void quiet(struct timer *t) {
    syn_input(container_of(t, struct held_syn, quiet)->flow, IN_QUIET);
}

/* The next repetition is due after twice the last gap at most (tcp_syn_linear_timeouts: after the same); two of those
 * without one, and nobody waits for the answer any more. */
static void wait_for_repetition(struct flow *f) {
    struct held_syn *s = f->syn;
    uint64_t due = s->gap * 2 > SECOND ? s->gap * 2 : SECOND;
    timer_set(f->ns->loop, &s->quiet, s->last + 2 * due + SECOND / 2);
}

static void again(struct flow *f) {
    uint64_t now = loop_now(f->ns->loop);
    f->syn->gap = now - f->syn->last;
    f->syn->last = now;
    wait_for_repetition(f);
}

static void let_go(struct flow *f) {
    if (!f->syn)
        return;
    timer_cancel(f->ns->loop, &f->syn->quiet);
    free(f->syn);
    f->syn = NULL;
}

static bool keep(struct flow *f, const struct ip_view *ip) {
    struct held_syn *s = calloc(1, sizeof *s);
    size_t tcp_len = (size_t)(ip->payload[12] >> 4) * 4; /* view_tcp has checked that it is there */
    if (!s)
        return false;
    s->quiet.fire = quiet;
    s->flow = f;
    s->last = loop_now(f->ns->loop);
    s->len = view_write_ip(s->packet, &ip->src, &ip->dst, IPPROTO_TCP, tcp_len);
    memcpy(s->packet + s->len, ip->payload, tcp_len);
    s->len += tcp_len;
    f->syn = s;
    return true;
}

/* --- out -------------------------------------------------------------------------------------------------------------- */

static void ask(struct flow *f) {
    struct channel_open o = {.kind = CHANNEL_TCP,
                             .window = relay_window(f->ns, f->ns->links.primary->mux),
                             .source = f->app,
                             .destination = f->peer,
                             .target = f->ns->links.primary->target};
    wait_for_repetition(f);
    channel_open(f->ns->links.primary->mux, &f->channel, &relay_ops, &o);
}

static err_t shaken(void *arg, struct tcp_pcb *pcb, err_t err) {
    (void)pcb, (void)err;
    syn_input(arg, IN_SHAKEN);
    return ERR_OK;
}

/* lwIP takes connections at a listening pcb of just this address and port; there is one, and it is moved about. */
static void hand(struct flow *f) {
    struct tcp_pcb_listen *door = f->ns->door;
    struct ip_view ip;
    CHECK(view_ip(f->syn->packet, f->syn->len, &ip));
    struct pbuf *b = pbuf_alloc(PBUF_RAW, (u16_t)ip.payload_len, PBUF_RAM);
    if (b) {
        memcpy(b->payload, ip.payload, ip.payload_len);
        door->local_ip = ip_of(&ip.dst);
        door->local_port = f->peer.port;
        door->callback_arg = f;
        sight_enter(f);
        tcp_listen_pcbs.listen_pcbs = door;
        ip_deliver(&ip, b);
        tcp_listen_pcbs.listen_pcbs = NULL;
        sight_leave(f);
    }
    let_go(f);
    if (f->pcb)
        relay_attach(f);
    else
        syn_input(f, IN_GONE);
    f->ns->counters.opened++;
}

static void write_rst(struct netstack *ns, const struct ip_view *ip) {
    struct tcp_view tcp;
    uint8_t out[60 + 20];
    CHECK(view_tcp(ip, &tcp));
    tun_write(&ns->tun, out, view_write_tcp_rst(out, ip, &tcp));
}

/* ETIMEDOUT: the app's own connect() times out as it would have there. ENETRESET: the link is gone; a repeated SYN asks
 * again when it is back. */
static void refuse(struct flow *f) {
    struct ip_view ip;
    uint8_t out[1500];
    CHECK(view_ip(f->syn->packet, f->syn->len, &ip));
    f->ns->counters.refused++;
    if (f->fate == ECONNREFUSED) {
        write_rst(f->ns, &ip);
    } else if (f->fate != ETIMEDOUT && f->fate != ENETRESET) {
        size_t n = view_write_unreachable(out, &ip, f->fate);
        if (n) {
            tun_write(&f->ns->tun, out, n);
        } else {
            event_refused(f->ns, f->fate, &f->peer);
            write_rst(f->ns, &ip);
        }
    }
    let_go(f);
}

static void cancel(struct flow *f) {
    f->ns->counters.cancelled++;
    channel_reset(&f->channel, ECANCELED);
    let_go(f);
}

void syn_new(struct netstack *ns, const struct ip_view *ip, const struct tcp_view *tcp) {
    struct endpoint app = {.addr = ip->src, .port = tcp->src_port},
                    peer = {.addr = ip->dst, .port = tcp->dst_port};
    if (listeners_own(ns, ip, &app, &peer) || !ns->links.primary ||
        !mux_opens(ns->links.primary->mux)) /* without a link: the app's kernel repeats it */
        return;
    struct flow *f = flow_new(ns, &app, &peer);
    if (!f)
        return;
    if (keep(f, ip))
        syn_input(f, IN_SYN);
    else
        flow_discard(f);
}

/* --- in --------------------------------------------------------------------------------------------------------------- */

static err_t connected(void *arg, struct tcp_pcb *pcb, err_t err) {
    (void)pcb, (void)err;
    syn_input(arg, IN_SHAKEN);
    return ERR_OK;
}

static void dial(struct flow *f) {
    ip_addr_t own = ip_of(&f->peer.addr), app = ip_of(&f->app.addr);
    struct tcp_pcb *pcb = tcp_new_ip_type(own.type);
    if (!pcb)
        return;
    sight_enter(f);
    if (tcp_bind(pcb, &own, f->peer.port) != ERR_OK ||
        tcp_connect(pcb, &app, f->app.port, connected) != ERR_OK)
        tcp_abort(pcb);
    sight_leave(f);
    if (f->pcb) {
        f->pcb->rto = SYN_RTO; /* its backlog was full, and may soon not be */
        relay_attach(f);
    }
}

static void join(struct flow *f) {
    f->ns->counters.mirrored++;
    if (channel_attached(&f->channel)) /* else it was reset in this batch */
        channel_accept(&f->channel, &relay_ops, relay_window(f->ns, f->channel.mux));
}

/* --- both ------------------------------------------------------------------------------------------------------------- */

/* What lwIP has written is on its way already; RST comes after it, as it did where the connection was reset. */
static void cut(struct flow *f) {
    list_remove(&f->ends);
    if (!f->pcb)
        return;
    relay_detach(f);
    if (!f->time_wait)
        tcp_output(f->pcb); /* what this batch brought for it */
    sight_enter(f);
    tcp_abort(f->pcb);
    sight_leave(f);
}

static void tell(struct flow *f) {
    channel_reset(&f->channel, f->why ? f->why : ECONNRESET);
}

static void vanish(struct flow *f) {
    cut(f);
    tell(f);
}

static void close_off(struct flow *f) {
    cut(f); /* in TIME_WAIT: without a packet */
    relay_push(f);
}

static void nothing(struct flow *f) {
    (void)f;
}

static const struct step {
    enum flow_state next;
    void (*act)(struct flow *f);
} steps[FLOW_OVER + 1][FLOW_INPUTS] = {
    [FLOW_NEW] = {[IN_SYN] = {FLOW_ASKED, ask}, [IN_OPEN] = {FLOW_DIALLING, dial}},
    [FLOW_ASKED] = {[IN_SYN] = {FLOW_ASKED, again},
                    [IN_OPENED] = {FLOW_HANDED, hand},
                    [IN_RESET] = {FLOW_OVER, refuse},
                    [IN_QUIET] = {FLOW_OVER, cancel},
                    [IN_RST] = {FLOW_OVER, cancel}},
    [FLOW_HANDED] = {[IN_SHAKEN] = {FLOW_LIVE, relay_start},
                     [IN_RESET] = {FLOW_OVER, cut},
                     [IN_GONE] = {FLOW_OVER, tell}},
    [FLOW_DIALLING] = {[IN_SHAKEN] = {FLOW_QUEUED, accepted_wait},
                       [IN_RESET] = {FLOW_OVER, cut},
                       [IN_GONE] = {FLOW_OVER, tell}},
    [FLOW_QUEUED] = {[IN_ACCEPTED] = {FLOW_LIVE, join},
                     [IN_RESET] = {FLOW_OVER, cut},
                     [IN_VANISHED] = {FLOW_OVER, vanish},
                     [IN_GONE] = {FLOW_OVER, tell}},
    [FLOW_LIVE] = {[IN_RESET] = {FLOW_OVER, cut},
                   [IN_GONE] = {FLOW_OVER, tell},
                   [IN_ENDED] = {FLOW_DRAINING, close_off}},
    [FLOW_DRAINING] = {[IN_RESET] = {FLOW_OVER, nothing}},
    [FLOW_OVER] = {[IN_RESET] = {FLOW_OVER, nothing}},
};

void syn_input(struct flow *f, enum flow_input in) {
    const struct step *s = &steps[f->state][in];
    CHECK(s->act);
    f->state = s->next;
    if (f->state != FLOW_QUEUED)
        list_remove(&f->waits);
    s->act(f);
    if (f->state < FLOW_DRAINING)
        return;
    if (!f->pcb)
        flow_unhash(f);
    flow_reap(f);
}

bool syn_init(struct netstack *ns) {
    struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
    if (!pcb || tcp_bind(pcb, IP4_ADDR_ANY, 1) != ERR_OK)
        return false;
    ns->door = (struct tcp_pcb_listen *)(void *)tcp_listen(pcb);
    if (!ns->door)
        return false;
    tcp_accept((struct tcp_pcb *)(void *)ns->door, shaken);
    tcp_listen_pcbs.listen_pcbs = NULL;
    return true;
}

void syn_stop(struct netstack *ns) {
    tcp_listen_pcbs.listen_pcbs = ns->door;
    tcp_close((struct tcp_pcb *)(void *)ns->door);
}
