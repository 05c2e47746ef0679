/* The engine's gates: one hand-over for each, and where the connections that come by it go. */
#include "agent/engine_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct gate {
    struct gate *next;
    uint32_t number;
    struct handover *handover;
};

static bool is_up(const struct session *s) {
    return s->mux && !s->cut;
}

/* A link that is cut carries nothing new: the target is there, and answers at once. */
static bool way(void *owner, uint32_t session, struct steal_way *found, int *err) {
    struct session *s = session_find(owner, session);
    if (!s || !is_up(s)) {
        *err = s ? ENETDOWN : ESRCH;
        return false;
    }
    if (s->most != 0 && mux_channels(s->mux) >= s->most) {
        *err = EMFILE;
        return false;
    }
    *found = (struct steal_way){s->mux, &s->stolen, &s->out.up, &s->out.down};
    return true;
}

static void each(void *owner, void (*one)(void *arg, uint32_t session, bool up), void *arg) {
    const struct engine *e = owner;
    for (const struct session *s = e->sessions; s; s = s->next)
        one(arg, s->number, is_up(s));
}

static const struct steal_sessions sessions = {.way = way, .each = each};

void gates_session(const struct session *s) {
    for (struct gate *g = s->engine->gates; g; g = g->next)
        handover_session(g->handover, s->number, is_up(s));
}

static void gate_free(struct gate *g) {
    handover_free(g->handover);
    free(g);
}

void gates_free(struct engine *e) {
    while (e->gates) {
        struct gate *g = e->gates;
        e->gates = g->next;
        gate_free(g);
    }
}

static void gate_add(void *arg) {
    struct call *c = arg;
    struct engine *e = c->engine;
    struct gate *g = calloc(1, sizeof *g);
    if (!g) {
        close(c->fd);
        c->result = fault_set(c->fault, ENOMEM, "a gate");
        return;
    }
    g->handover = handover_new(&e->desk, c->fd, &sessions, e, c->fault);
    if (!g->handover) {
        free(g);
        c->result = -1;
        return;
    }
    g->number = ++e->last_gate;
    g->next = e->gates;
    e->gates = g;
    c->result = g->number;
}

int64_t engine_gate_add(struct engine *e, int fd, struct fault *f) {
    struct call c = {.engine = e, .fd = fd, .fault = f};
    loop_call(e->loop, gate_add, &c);
    return c.result;
}

static void gate_del(void *arg) {
    struct call *c = arg;
    for (struct gate **at = &c->engine->gates; *at; at = &(*at)->next)
        if ((*at)->number == c->gate) {
            struct gate *g = *at;
            *at = g->next;
            gate_free(g);
            return;
        }
}

void engine_gate_del(struct engine *e, uint32_t gate) {
    struct call c = {.engine = e, .gate = gate};
    loop_call(e->loop, gate_del, &c);
}

static void gate_sessions(void *arg) {
    struct call *c = arg;
    for (struct gate *g = c->engine->gates; g; g = g->next)
        if (g->number == c->gate)
            handover_sessions(g->handover);
}

void engine_gate_sessions(struct engine *e, uint32_t gate) {
    struct call c = {.engine = e, .gate = gate};
    loop_call(e->loop, gate_sessions, &c);
}

static void hush(void *arg) {
    struct call *c = arg;
    for (struct gate *g = c->engine->gates; g; g = g->next)
        handover_hush(g->handover, c->session);
}

void engine_hush(struct engine *e, uint32_t session) {
    struct call c = {.engine = e, .session = session};
    loop_call(e->loop, hush, &c);
}

static void unanswered(void *arg) {
    struct call *c = arg;
    for (struct gate *g = c->engine->gates; g; g = g->next)
        c->result += handover_unanswered(g->handover, c->session);
}

uint32_t engine_unanswered(struct engine *e, uint32_t session) {
    struct call c = {.engine = e, .session = session};
    loop_call(e->loop, unanswered, &c);
    return (uint32_t)c.result;
}
