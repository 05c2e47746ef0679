/* See flow.h. */
#include "layer/netstack/flow.h"
#include "layer/netstack/engine.h"
#include "layer/netstack/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define FIRST_SIZE 256

bool flow_table_init(struct flow_table *t) {
    /* The app chooses ports: a seed keeps it from choosing our chains. */
    if (getrandom(&t->seed, sizeof t->seed, GRND_NONBLOCK) != sizeof t->seed)
        t->seed = (uint32_t)(uintptr_t)t;
    t->size = FIRST_SIZE;
    t->buckets = calloc(t->size, sizeof *t->buckets);
    return t->buckets != NULL;
}

void flow_table_free(struct flow_table *t) {
    free(t->buckets);
}

static struct flow **bucket(const struct flow_table *t, const struct endpoint *app,
                            const struct endpoint *peer) {
    return &t->buckets[endpoint_pair_hash(app, peer, t->seed) & (t->size - 1)];
}

struct flow *flow_find(const struct flow_table *t, const struct endpoint *app,
                       const struct endpoint *peer) {
    for (struct flow *f = *bucket(t, app, peer); f; f = f->hash_next)
        if (endpoint_equal(&f->app, app) && endpoint_equal(&f->peer, peer))
            return f;
    return NULL;
}

/* Without memory the chains get longer, nothing else. */
static void grow(struct flow_table *t) {
    struct flow_table bigger = *t;
    bigger.size = t->size * 2;
    bigger.buckets = calloc(bigger.size, sizeof *bigger.buckets);
    if (!bigger.buckets)
        return;
    for (size_t i = 0; i < t->size; i++)
        for (struct flow *f = t->buckets[i], *next; f; f = next) {
            struct flow **place = bucket(&bigger, &f->app, &f->peer);
            next = f->hash_next;
            f->hash_next = *place;
            *place = f;
        }
    free(t->buckets);
    *t = bigger;
}

struct flow *flow_new(struct netstack *ns, const struct endpoint *app,
                      const struct endpoint *peer) {
    struct flow_table *t = &ns->flows;
    struct flow *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->ns = ns;
    f->app = *app;
    f->peer = *peer;
    if (t->count >= t->size)
        grow(t);
    struct flow **place = bucket(t, app, peer);
    f->hash_next = *place;
    *place = f;
    f->hashed = true;
    t->count++;
    t->alive++;
    return f;
}

void flow_unhash(struct flow *f) {
    if (!f->hashed)
        return;
    struct flow **at = bucket(&f->ns->flows, &f->app, &f->peer);
    while (*at != f)
        at = &(*at)->hash_next;
    *at = f->hash_next;
    f->hashed = false;
    f->ns->flows.count--;
}

void flow_discard(struct flow *f) {
    flow_unhash(f);
    flow_reap(f);
}

void flow_reap(struct flow *f) {
    if (f->reap)
        return;
    f->reap = true;
    f->reap_next = f->ns->reap;
    f->ns->reap = f;
    loop_defer(f->ns->loop, &f->ns->reap_task);
}

static void flow_free(struct flow *f) {
    flow_unhash(f);
    list_remove(&f->ticks);
    list_remove(&f->acks);
    list_remove(&f->ends);
    list_remove(&f->waits);
    relay_drop(f);
    CHECK(!f->syn && !f->output);
    f->ns->flows.alive--;
    free(f);
}

void flow_reap_run(struct task *self) {
    struct netstack *ns = container_of(self, struct netstack, reap_task);
    while (ns->reap) {
        struct flow *f = ns->reap;
        ns->reap = f->reap_next;
        f->reap = false;
        if (f->fate) {
            syn_input(f, IN_RESET);
            f->fate = 0;
        }
        if (!f->pcb && f->state != FLOW_ASKED && !channel_attached(&f->channel) && !f->reap &&
            !f->output)
            flow_free(f);
    }
}

/* What is left has no channel: it is reset already, or only waited out. */
void flow_end_all(struct netstack *ns) {
    loop_undefer(ns->loop, &ns->output_task);
    while (ns->outputs) { /* one that was in the way of its flow_free may be in no other list */
        struct flow *f = ns->outputs;
        ns->outputs = f->output_next;
        f->output = false;
        flow_reap(f);
    }
    for (size_t i = 0; i < ns->flows.size; i++)
        for (struct flow *f = ns->flows.buckets[i], *next; f; f = next) {
            next = f->hash_next;
            if (!f->fate)
                f->fate = ENETRESET;
            flow_reap(f);
        }
    while (ns->reap)
        flow_reap_run(&ns->reap_task);
    loop_undefer(ns->loop, &ns->reap_task);
    CHECK(!ns->flows.count && !ns->flows.alive);
}

void list_init(struct link_node *head) {
    head->next = head->prev = head;
}

void list_append(struct link_node *head, struct link_node *n) {
    list_remove(n);
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

void list_remove(struct link_node *n) {
    if (!n->next)
        return;
    n->next->prev = n->prev;
    n->prev->next = n->next;
    n->next = n->prev = NULL;
}

bool list_empty(const struct link_node *head) {
    return head->next == head;
}
