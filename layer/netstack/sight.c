/* See sight.h. */
#include "layer/netstack/sight.h"
#include "layer/netstack/engine.h"

#include "lwip/priv/tcp_priv.h"

#define MS   1000000ull
#define TICK (TCP_TMR_INTERVAL * MS)
/* A segment is acknowledged with the answer to it, if that comes soon. The app's kernel may hold its next small write back
 * until then (Nagle), so "soon" is short; Linux waits up to 40 ms. */
#define ACK_WAIT (1 * MS)
/* Long enough for a FIN that is sent again when our last ACK was lost, and tun0 hardly loses any. */
#define TIME_WAIT_LENGTH (1000 * MS)

void tcp_timer_needed(void) {
    /* lwIP asks for its clock when a pcb is linked; ours is set by what a flow waits for (sight_settle). */
}

void sight_enter(struct flow *f) {
    CHECK(!tcp_active_pcbs && !tcp_tw_pcbs && !tcp_bound_pcbs);
    if (!f->pcb)
        return;
    f->pcb->next = NULL;
    if (f->time_wait)
        tcp_tw_pcbs = f->pcb;
    else
        tcp_active_pcbs = f->pcb;
}

void sight_leave(struct flow *f) {
    CHECK(!tcp_bound_pcbs);
    f->pcb = tcp_active_pcbs ? tcp_active_pcbs : tcp_tw_pcbs;
    f->time_wait = f->pcb && f->pcb->state == TIME_WAIT;
    tcp_active_pcbs = tcp_tw_pcbs = NULL;
    sight_settle(f);
}

static bool waits(const struct tcp_pcb *p) {
    if (p->unacked || p->unsent || p->ooseq || p->refused_data || (p->flags & TF_CLOSEPEND))
        return true;
    return p->state != ESTABLISHED && p->state != CLOSE_WAIT && p->state != FIN_WAIT_2;
}

static void start(struct netstack *ns, struct timer *t, uint64_t after) {
    if (!t->place)
        timer_set(ns->loop, t, loop_now(ns->loop) + after);
}

static void tick_or_not(struct flow *f) {
    struct netstack *ns = f->ns;
    bool now = f->ticks.next != NULL, wanted = f->pcb && !f->time_wait && waits(f->pcb);
    if (wanted && !now) {
        list_append(&ns->ticking, &f->ticks);
        ns->ticking_count++;
        start(ns, &ns->tick, TICK);
    } else if (!wanted && now) {
        list_remove(&f->ticks);
        ns->ticking_count--;
    }
}

void sight_settle(struct flow *f) {
    struct netstack *ns = f->ns;
    tick_or_not(f);
    if (!f->pcb || !(f->pcb->flags & TF_ACK_DELAY)) {
        list_remove(&f->acks);
    } else if (!f->acks.next) {
        f->ack_at = loop_now(ns->loop) + ACK_WAIT;
        list_append(&ns->acks, &f->acks);
        start(ns, &ns->ack, ACK_WAIT);
    }
    if (f->time_wait && !f->ends.next) {
        f->ends_at = loop_now(ns->loop) + TIME_WAIT_LENGTH;
        list_append(&ns->ends, &f->ends);
        start(ns, &ns->end, TIME_WAIT_LENGTH);
    }
    if (!f->pcb && f->state != FLOW_ASKED && f->state != FLOW_NEW) {
        flow_unhash(f);
        flow_reap(f);
    }
}

/* lwIP's 50 ms: all that wait are linked, the clock is moved, and they are taken apart again. What lwIP gives up on is
 * gone by then: its error callback has cleared flow->pcb. */
static void tick(struct timer *t) {
    struct netstack *ns = container_of(t, struct netstack, tick);
    struct link_node *next;
    for (struct link_node *n = ns->ticking.prev; n != &ns->ticking; n = n->prev) {
        struct tcp_pcb *p = container_of(n, struct flow, ticks)->pcb;
        p->next = tcp_active_pcbs;
        tcp_active_pcbs = p;
    }
    tcp_tmr();
    tcp_active_pcbs = NULL;
    for (struct link_node *n = ns->ticking.next; n != &ns->ticking; n = next) {
        next = n->next;
        sight_settle(container_of(n, struct flow, ticks));
    }
    if (!list_empty(&ns->ticking))
        timer_set(ns->loop, t, loop_now(ns->loop) + TICK);
}

static void acknowledge(struct timer *t) {
    struct netstack *ns = container_of(t, struct netstack, ack);
    uint64_t now = loop_now(ns->loop);
    while (!list_empty(&ns->acks)) {
        struct flow *f = container_of(ns->acks.next, struct flow, acks);
        if (f->ack_at > now) {
            timer_set(ns->loop, t, f->ack_at);
            return;
        }
        list_remove(&f->acks);
        CHECK(f->pcb);
        tcp_ack_now(f->pcb);
        tcp_output(f->pcb);
    }
}

static void end_time_wait(struct timer *t) {
    struct netstack *ns = container_of(t, struct netstack, end);
    uint64_t now = loop_now(ns->loop);
    while (!list_empty(&ns->ends)) {
        struct flow *f = container_of(ns->ends.next, struct flow, ends);
        if (f->ends_at > now) {
            timer_set(ns->loop, t, f->ends_at);
            return;
        }
        syn_input(f, IN_ENDED);
    }
}

static void output(struct task *self) {
    struct netstack *ns = container_of(self, struct netstack, output_task);
    while (ns->outputs) {
        struct flow *f = ns->outputs;
        ns->outputs = f->output_next;
        f->output = false;
        if (f->pcb) {
            tcp_output(f->pcb);
            sight_settle(f);
        } else {
            flow_reap(f);
        }
    }
}

void sight_output(struct flow *f) {
    if (f->output)
        return;
    f->output = true;
    f->output_next = f->ns->outputs;
    f->ns->outputs = f;
    loop_defer(f->ns->loop, &f->ns->output_task);
}

void sight_init(struct netstack *ns) {
    list_init(&ns->ticking);
    list_init(&ns->acks);
    list_init(&ns->ends);
    ns->tick.fire = tick;
    ns->ack.fire = acknowledge;
    ns->end.fire = end_time_wait;
    ns->output_task.run = output;
    ns->reap_task.run = flow_reap_run;
}

void sight_stop(struct netstack *ns) {
    timer_cancel(ns->loop, &ns->tick);
    timer_cancel(ns->loop, &ns->ack);
    timer_cancel(ns->loop, &ns->end);
}
