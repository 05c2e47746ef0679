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

/* Datagrams and SYNs to port 53 on loopback are for the target's name server, even if somebody serves that port here. */
static bool is_name_server(const struct endpoint *to) {
    return to->port == 53 && to->addr.family == 4 && to->addr.ip[0] == 127;
}

static bool accepts_tcp(struct netstack *ns, const struct endpoint *to) {
    struct fault f;
    if (sockdiag_accepts(ns->listeners.diag, IPPROTO_TCP, to, &f) != 1)
        return false;
    event_self(ns, to->port);
    return true;
}

static bool takes_udp(struct netstack *ns, const struct endpoint *app, const struct endpoint *to) {
    struct listeners *l = &ns->listeners;
    struct fault f;
    if (loop_now(ns->loop) < l->not_until && endpoint_equal(to, &l->not_udp))
        return false;
    if (sockdiag_takes_udp(l->diag, to, app, &f) == 1)
        return true;
    l->not_udp = *to;
    l->not_until = loop_now(ns->loop) + l->interval;
    return false;
}

/* The transport's octets as they came, and the time to live, so that no mistake in the rules makes a circle. The checksum is
 * the kernel's to make again, because it may never have been made. */
static void send_back(struct netstack *ns, const struct ip_view *ip) {
    uint8_t head[40], start[18];
    size_t place = ip->proto == IPPROTO_TCP ? 16 : 6, part = place + 2;
    uint16_t sum = (uint16_t)~checksum_fold(
        checksum_pseudo(&ip->src, &ip->dst, ip->proto, (uint32_t)ip->payload_len));
    memcpy(start, ip->payload, part);
    start[place] = (uint8_t)(sum >> 8);
    start[place + 1] = (uint8_t)sum;
    size_t head_len = view_write_ip(head, &ip->src, &ip->dst, ip->proto, ip->payload_len);
    head[ip->version == 4 ? 8 : 7] = ip->ttl;
    if (ip->version == 4) {
        memset(head + 10, 0, 2);
        uint16_t of_head = checksum_fold(checksum_add(0, head, head_len));
        head[10] = (uint8_t)(of_head >> 8);
        head[11] = (uint8_t)of_head;
    }
    struct iovec iov[4] = {[1] = {head, head_len},
                           [2] = {start, part},
                           [3] = {(void *)(uintptr_t)(ip->payload + part), ip->payload_len - part}};
    tun_writev(&ns->tun, iov, 4, head_len, place);
}

bool listeners_own(struct netstack *ns, const struct ip_view *ip, const struct endpoint *app,
                   const struct endpoint *to) {
    struct listeners *l = &ns->listeners;
    if (l->diag < 0 || !is_own(l, &to->addr) || is_name_server(to))
        return false;
    if (!(ip->proto == IPPROTO_TCP ? accepts_tcp(ns, to) : takes_udp(ns, app, to)))
        return false;
    send_back(ns, ip);
    timer_set(ns->loop, &l->timer, loop_now(ns->loop)); /* the set, too, at once */
    return true;
}
