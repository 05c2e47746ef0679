/* See listeners.h. */
#include "layer/netstack/listeners.h"
#include "layer/netstack/engine.h"

#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

static void look(struct timer *t) {
    struct listeners *l = container_of(t, struct listeners, timer);
    struct netstack *ns = container_of(l, struct netstack, listeners);
    struct sockdiag_port now[LISTENERS_MAX];
    struct fault f;
    memset(now, 0, sizeof now); /* compared as memory */
    int n = sockdiag_listening(l->diag, now, LISTENERS_MAX, &f);
    if (n < 0) {
        event_failed(ns, f.text);
        listeners_stop(ns);
        return;
    }
    if (!l->told || (size_t)n != l->count || memcmp(now, l->ports, (size_t)n * sizeof *now)) {
        l->told = true;
        l->count = (size_t)n;
        memcpy(l->ports, now, sizeof now);
        event_listening(ns, now, l->count);
    }
    timer_set(ns->loop, t, loop_now(ns->loop) + l->interval);
}

void listeners_init(struct netstack *ns) {
    ns->listeners.diag = -1;
    ns->listeners.timer.fire = look;
}

void listeners_set(struct netstack *ns, int diag, uint32_t interval_ms) {
    struct listeners *l = &ns->listeners;
    listeners_stop(ns);
    l->diag = diag;
    l->interval = interval_ms * 1000000ull;
    l->told = false;
    if (diag >= 0)
        timer_set(ns->loop, &l->timer, loop_now(ns->loop));
}

void listeners_stop(struct netstack *ns) {
    struct listeners *l = &ns->listeners;
    timer_cancel(ns->loop, &l->timer);
    if (l->diag >= 0)
        close(l->diag);
    l->diag = -1;
}

static bool is_own(const struct listeners *l, const struct addr *a) {
    if (a->family == 4 && a->ip[0] == 127)
        return true;
    for (size_t i = 0; i < l->own_count; i++)
        if (!memcmp(&l->own[i], a, sizeof *a))
            return true;
    return false;
}

bool listeners_own(struct netstack *ns, const struct endpoint *to) {
    struct listeners *l = &ns->listeners;
    struct fault f;
    if (l->diag < 0 || !is_own(l, &to->addr) || sockdiag_accepts(l->diag, IPPROTO_TCP, to, &f) != 1)
        return false;
    event_self(ns, to->port);
    timer_set(ns->loop, &l->timer, loop_now(ns->loop)); /* the set, too, at once */
    return true;
}
