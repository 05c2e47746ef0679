/* The gate: couples its parts. What is wanted becomes sets of the table; who calls becomes a connection; the end is a drain.
 *
 * See gate.h; ARCHITECTURE.md for why it is a process of its own. */
#include "agent/gate/gate.h"

#include "agent/gate/conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#define SECOND (1000ull * 1000 * 1000)

enum {
    DRAIN_WITHOUT_AGENT = 600, /* s; the agent's own default, when it can no longer say */
    PORTS = 2 * WANT_RULES     /* of one gate's life */
};

/* --- what is stolen ------------------------------------------------------------------------------------------------- */

static void on_call(struct door *d, const struct door_caller *caller) {
    conn_new(container_of(d, struct port, door), caller);
}

/* A stolen port, with its door opened if it is new; or NULL. */
static struct port *port_of(struct gate *g, uint16_t port, struct fault *f) {
    for (struct port *p = g->ports; p; p = p->next)
        if (p->door.stolen == port)
            return p;
    struct port *new = g->port_count < PORTS ? calloc(1, sizeof *new) : NULL;
    if (!new) {
        fault_set(f, ENOMEM, "steal port %u beside %u others", port, g->port_count);
        return NULL;
    }
    new->gate = g;
    new->door.called = on_call;
    new->door.stolen = port;
    if (door_open(&new->door, g->loop, f) != 0) {
        free(new);
        return NULL;
    }
    new->next = g->ports;
    g->ports = new;
    g->port_count++;
    return new;
}

static struct rules_port *port_among(struct rules_port *ports, size_t count, uint16_t port) {
    for (size_t i = 0; i < count; i++)
        if (ports[i].port == port)
            return &ports[i];
    return NULL;
}

static bool same_meshes(const struct want *a, const struct want *b) {
    return a->meshes == b->meshes && memcmp(a->mesh, b->mesh, a->meshes * sizeof *a->mesh) == 0;
}

static int swap(struct gate *g, const struct want *w, struct fault *f) {
    struct rules_port ports[WANT_RULES];
    size_t count = 0;
    for (uint32_t i = 0; i < w->rules; i++) {
        const struct want_rule *r = &w->rule[i];
        struct rules_port *p = port_among(ports, count, r->port);
        if (!p) {
            const struct port *port = port_of(g, r->port, f);
            if (!port)
                return -1;
            if (!port_fits(port, w))
                return fault_set(f, E2BIG, "steal port %u by filter for more than %d sessions",
                                 r->port, EXCHANGE_APPS);
            p = &ports[count++];
            *p = (struct rules_port){.port = r->port, .door = port->door.port};
        }
        p->local |= (r->session->flags & WANT_STEAL_LOCAL) != 0;
    }
    if (!same_meshes(g->want, w) && table_meshes(g->table, w->mesh, w->meshes, f) != 0)
        return -1;
    return table_swap(g->table, ports, count, f);
}

/* Sessions that are gone have no link to remember. */
static void keep_down(struct gate *g) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < g->down_count; i++)
        for (uint32_t k = 0; k < g->want->sessions; k++)
            if (g->want->session[k].number == g->down[i])
                g->down[kept++] = g->down[i];
    g->down_count = kept;
}

/* --- what there was before ------------------------------------------------------------------------------------------ */

static bool is_ours(const struct older *o, const struct endpoint *client, uint16_t port) {
    return conn_is_ours(container_of(o, const struct gate, older), client, port);
}

static bool has_rule(const struct want *w, uint64_t session, uint16_t port) {
    for (uint32_t i = 0; i < w->rules; i++)
        if (w->rule[i].port == port && w->rule[i].session->number == session)
            return true;
    return false;
}

/* Of what is stolen newly. A kernel that cannot tell leaves the count at 0: nothing depends on it. */
static void count_older(struct gate *g, const struct want *old, const struct want *w) {
    for (uint32_t i = 0; i < w->rules; i++) {
        const struct want_rule *r = &w->rule[i];
        struct fault f = {0};
        if (has_rule(old, r->session->number, r->port))
            continue;
        bool destroy = r->session->flags & WANT_STEAL_EXISTING;
        int count = older_connections(&g->older, r->port, destroy, &f);
        if (count < 0)
            fprintf(stderr, "mirror-gate: %s\n", f.text);
        else
            tally_of(&g->tallies, r->session->number, r->port)->older = (uint64_t)count;
    }
}

/* Sessions that are gone lose what their apps had; the others' rules hold for the next request and connection. */
static void follow(struct gate *g, struct want *w) {
    struct want *old = g->want;
    g->want = w;
    keep_down(g);
    for (struct port *p = g->ports; p; p = p->next) {
        conn_gone(p, port_leave(p, w));
        port_join(p, w);
        for (uint32_t i = 0; i < w->sessions; i++)
            port_link(p, w->session[i].number, gate_is_up(g, w->session[i].number));
    }
    tallies_keep(&g->tallies, w);
    count_older(g, old, w);
    want_free(old);
}

/* Its name among processes says what it does: `mirror-run ps` asks the engine for it, and so may anybody. */
static void is_draining(struct gate *g, bool yes) {
    g->draining = yes;
    prctl(PR_SET_NAME, yes ? "mirror-drains" : "mirror-gate");
}

/* A want that the kernel does not take is told, and the one before goes on. What is in force first is what connections are judged
 * by: one that arrives before the set has changed meets the new rules. */
static void on_want(struct control *control, struct want *w) {
    struct gate *g = container_of(control, struct gate, control);
    struct fault f = {0};
    if (swap(g, w, &f) != 0) {
        want_free(w);
        control_failed(control->io.fd, &f);
        return;
    }
    if (g->draining) { /* it is needed again; what was draining ends all the same */
        is_draining(g, false);
        timer_cancel(g->loop, &g->drain_end);
    }
    follow(g, w);
    control_applied(control, w->serial);
}

static void on_refused(struct control *control, const struct fault *f) {
    control_failed(control->io.fd, f);
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

static void end_of_drain(struct timer *t) {
    struct gate *g = container_of(t, struct gate, drain_end);
    g->reset = g->conn_count;
    conn_reset_all(g);
}

static void finish(struct gate *g) {
    tallies_tell(&g->tallies);
    if (g->control.io.serial)
        control_drained(&g->control, g->reset);
    loop_stop(g->loop);
}

void gate_conn_gone(struct gate *g) {
    if (g->draining && g->conn_count == 0)
        finish(g);
}

/* The sets are emptied at once; the rest of the table stays for those whose addresses it translates. */
static void drain(struct gate *g, uint64_t seconds) {
    struct fault f = {0};
    if (!g->draining && table_swap(g->table, NULL, 0, &f) != 0 && g->control.io.serial)
        control_failed(g->control.io.fd, &f);
    is_draining(g, true);
    conn_drain(g);
    timer_set(g->loop, &g->drain_end, loop_now(g->loop) + seconds * SECOND);
    if (g->conn_count == 0)
        finish(g);
}

static void on_drain(struct control *control, uint64_t seconds) {
    drain(container_of(control, struct gate, control), seconds);
}

static void on_agent_gone(struct control *control) {
    struct gate *g = container_of(control, struct gate, control);
    if (!g->draining)
        drain(g, DRAIN_WITHOUT_AGENT);
}

/* --- links, callers ------------------------------------------------------------------------------------------------- */

bool gate_is_up(const struct gate *g, uint64_t session) {
    for (uint32_t i = 0; i < g->down_count; i++)
        if (g->down[i] == session)
            return false;
    return g->handover.io.serial != 0;
}

static void on_link(struct handover *h, uint64_t session, bool up) {
    struct gate *g = container_of(h, struct gate, handover);
    if (up == gate_is_up(g, session))
        return;
    for (uint32_t i = 0; up && i < g->down_count; i++)
        if (g->down[i] == session)
            g->down[i--] = g->down[--g->down_count];
    if (!up && g->down_count < WANT_SESSIONS)
        g->down[g->down_count++] = session;
    for (struct port *p = g->ports; p; p = p->next)
        port_link(p, session, up);
    conn_link(g, session, up);
}

/* Its connections have been reset already, and no session is up any more; the agent's end is said by control. */
static void on_engine_gone(struct handover *h) {
    (void)h;
}

/* --- opening -------------------------------------------------------------------------------------------------------- */

int gate_open(struct gate *g, struct loop *loop, struct table *table, const char *comment,
              int control, int handover, struct fault *f) {
    g->loop = loop;
    g->table = table;
    g->desk = (struct relay_desk){
        .loop = loop, .pool = &g->pool, .pipes = &g->pipes, .scratch = g->scratch};
    g->drain_end.fire = end_of_drain;
    g->older.is_ours = is_ours;
    g->control.want = on_want;
    g->control.refused = on_refused;
    g->control.drain = on_drain;
    g->control.gone = on_agent_gone;
    g->handover.link = on_link;
    g->handover.gone = on_engine_gone;
    g->want = want_nothing();
    if (!g->want)
        return fault_set(f, ENOMEM, "open the gate");
    if (table_make(table, comment, f) != 0 || !(g->clients = clients_new(TABLE_FD, f)) ||
        tallies_open(&g->tallies, loop, &g->control, f) != 0 || older_open(&g->older, f) != 0 ||
        control_open(&g->control, loop, control, f) != 0 ||
        handover_open(&g->handover, loop, handover, f) != 0)
        return -1;
    control_ready(&g->control);
    return 0;
}

void gate_close(struct gate *g) {
    conn_reset_all(g);
    if (g->clients)
        clients_forget_tracked(g->clients);
    for (struct port *p; (p = g->ports);) {
        g->ports = p->next;
        port_close(p);
        free(p);
    }
    timer_cancel(g->loop, &g->drain_end);
    tallies_close(&g->tallies);
    older_close(&g->older);
    if (g->control.loop)
        control_close(&g->control);
    if (g->handover.loop)
        handover_close(&g->handover);
    clients_free(g->clients);
    chunk_pool_free(&g->pool);
    splice_pool_free(&g->pipes);
    want_free(g->want);
}
