/* See port.h. */
#include "agent/gate/port.h"

static bool is_of(const struct want_rule *r, const struct port *p) {
    return r->port == p->door.stolen;
}

static bool is_wanted(const struct want *w, uint64_t session) {
    for (uint32_t i = 0; i < w->sessions; i++)
        if (w->session[i].number == session)
            return true;
    return false;
}

int port_slot_of(const struct port *p, uint64_t session) {
    for (int k = 0; k < EXCHANGE_APPS; k++)
        if (p->slot[k].filter && p->slot[k].session == session)
            return k;
    return -1;
}

bool port_fits(const struct port *p, const struct want *w) {
    unsigned count = 0;
    for (uint32_t i = 0; i < w->rules; i++)
        count += is_of(&w->rule[i], p) && port_slot_of(p, w->rule[i].session->number) < 0;
    for (int k = 0; k < EXCHANGE_APPS; k++)
        count += p->slot[k].filter && is_wanted(w, p->slot[k].session);
    return count <= EXCHANGE_APPS;
}

/* What becomes of the requests that its app had is still asked for, when its exchanges are told. */
static void clear(struct port *p, int k) {
    http_filter_free(p->slot[k].filter);
    p->slot[k] = (struct port_slot){0};
    p->rules.slot[k].filter = NULL;
    p->rules.slot[k].takes = false;
}

uint32_t port_leave(struct port *p, const struct want *w) {
    uint32_t gone = 0;
    p->rules.count = 0;
    p->whole = false;
    p->rules.generation++;
    for (int k = 0; k < EXCHANGE_APPS; k++) {
        p->slot[k].ruled = false;
        p->rules.slot[k].takes = false;
        if (p->slot[k].filter && !is_wanted(w, p->slot[k].session)) {
            clear(p, k);
            gone |= 1u << k;
        }
    }
    return gone;
}

static int free_slot(const struct port *p) {
    int k = 0;
    while (p->slot[k].filter) /* port_fits has seen to it that there is one */
        k++;
    return k;
}

void port_join(struct port *p, struct want *w) {
    p->rules.generation++;
    for (uint32_t i = 0; i < w->rules; i++) {
        struct want_rule *r = &w->rule[i];
        if (!is_of(r, p))
            continue;
        int k = port_slot_of(p, r->session->number);
        if (k < 0)
            k = free_slot(p);
        else if (p->slot[k].ruled) /* twice the same: the first one holds */
            continue;
        else
            http_filter_free(p->slot[k].filter);
        p->slot[k] = (struct port_slot){.session = r->session->number,
                                        .target = r->target,
                                        .app_port = r->app_port,
                                        .ruled = true,
                                        .filter = r->filter};
        p->rules.slot[k] = (struct exchange_rule){.filter = r->filter,
                                                  .on_app_gone = r->session->on_app_gone,
                                                  .link_lost_after = r->session->link_lost_after};
        p->rules.order[p->rules.count++] = (uint8_t)k;
        p->whole |= r->whole;
        r->filter = NULL;
    }
}

void port_link(struct port *p, uint64_t session, bool up) {
    int k = port_slot_of(p, session);
    if (k >= 0)
        p->rules.slot[k].takes = up && p->slot[k].ruled;
}

void port_close(struct port *p) {
    door_close(&p->door);
    for (int k = 0; k < EXCHANGE_APPS; k++)
        clear(p, k);
}
