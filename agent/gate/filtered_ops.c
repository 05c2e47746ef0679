/* The exchange's ops on the parties' sockets. What would end the connection or call the exchange back is only noted here, and acted
 * upon by filtered_settle(). */
#include "agent/gate/filtered_inner.h"
#include "agent/gate/probe.h"

#include <stdlib.h>
#include <string.h>

static void op_send(void *shell, unsigned which, const void *octets, size_t n) {
    struct party *p = filtered_party(shell, which);
    if (p)
        party_send(p, octets, n);
}

static void op_end(void *shell, unsigned which) {
    struct party *p = filtered_party(shell, which);
    if (!p)
        return;
    p->end = true;
    party_tell_end(p);
}

static void op_cut(void *shell, unsigned which) {
    struct filtered *f = shell;
    struct party *p = filtered_party(f, which);
    if (which == EXCHANGE_CLIENT)
        f->cut = true;
    else if (p)
        party_close(p, true);
}

static void op_raw(void *shell, unsigned which, enum exchange_why why) {
    struct filtered *f = shell;
    struct conn *c = f->conn;
    f->raw = (int)which;
    for (unsigned i = 0; why == EXCHANGE_WHY_TLS && i < c->port->rules.count; i++)
        tally_of(&c->gate->tallies, c->port->slot[c->port->rules.order[i]].session,
                 c->port->door.stolen)
            ->tls++;
}

static void op_seen(void *shell, int slot, const char *line, size_t n) {
    const struct conn *c = ((struct filtered *)shell)->conn;
    for (unsigned i = 0; i < c->port->rules.count; i++) {
        int k = c->port->rules.order[i];
        struct control_counts *counts =
            tally_of(&c->gate->tallies, c->port->slot[k].session, c->port->door.stolen);
        counts->seen++;
        if (k == slot) {
            counts->matched++;
            return; /* younger sessions were not asked */
        }
        if (n > CONTROL_LINE)
            n = CONTROL_LINE;
        memcpy(counts->line, line, n);
        counts->line[n] = 0;
    }
}

static bool op_targets_own(void *shell, const char *path, size_t path_n, const char *agent,
                           size_t agent_n) {
    const struct conn *c = ((struct filtered *)shell)->conn;
    return c->may_probe && probe_is_health_check(path, path_n, agent, agent_n);
}

static size_t op_backlog(void *shell, unsigned which) {
    const struct party *p = filtered_party(shell, which);
    return p ? p->out.len : 0;
}

static void op_ask(void *shell, unsigned which) {
    struct filtered *f = shell;
    struct conn *c = f->conn;
    unsigned k = which - EXCHANGE_APP;
    const struct port_slot *slot = &c->port->slot[k];
    struct fault ignored;
    if (!f->party[EXCHANGE_APP + k])
        f->party[EXCHANGE_APP + k] = calloc(1, sizeof *f->party[EXCHANGE_APP + k]);
    struct party *p = f->party[EXCHANGE_APP + k];
    if (p) {
        *p = (struct party){.gate = c->gate,
                            .owner = f,
                            .asked = true,
                            .pair = true,
                            .offer.answered = filtered_answered};
        p->io = (struct loop_fd){
            .fd = conn_offer(c, &p->offer, slot->session, slot->target, slot->app_port),
            .ready = filtered_ready};
        if (p->io.fd >= 0 && loop_add(c->gate->loop, &p->io, 0, &ignored) == 0) {
            tally_of(&c->gate->tallies, slot->session, c->port->door.stolen)->stolen++;
            return;
        }
        party_close(p, true);
    }
    f->refused |= 1u << k;
    loop_defer(c->gate->loop, &f->later);
}

void filtered_say_refused(struct task *t) {
    struct filtered *f = container_of(t, struct filtered, later);
    unsigned k = (unsigned)__builtin_ctz(f->refused);
    f->refused &= f->refused - 1;
    if (f->refused)
        loop_defer(f->conn->gate->loop, t);
    exchange_refused(f->exchange, EXCHANGE_APP + k, filtered_now(f));
    filtered_settle(f);
}

const struct exchange_ops filtered_ops = {
    .send = op_send,
    .end = op_end,
    .ask = op_ask,
    .cut = op_cut,
    .raw = op_raw,
    .seen = op_seen,
    .backlog = op_backlog,
    .targets_own = op_targets_own,
};
