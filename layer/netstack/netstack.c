/* The parts put together: what a packet is and who gets it, and the calls from Python but those about links. See netstack.h. */
#include "layer/netstack/engine.h"
#include "layer/netstack/ip.h"
#include "layer/netstack/memory.h"
#include "layer/netstack/mirror.h"
#include "layer/netstack/relay.h"

#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUTBOX_OCTETS (256 * 1024)

static atomic_flag taken = ATOMIC_FLAG_INIT; /* lwIP has one set of lists */

/* --- packets ---------------------------------------------------------------------------------------------------------- */

static void no_flow(struct netstack *ns, const struct ip_view *ip, const struct tcp_view *tcp) {
    if ((tcp->flags & (TCP_FLAG_SYN | TCP_FLAG_ACK | TCP_FLAG_RST)) == TCP_FLAG_SYN) {
        syn_new(ns, ip, tcp);
        return;
    }
    uint8_t out[60];
    size_t n = view_write_tcp_rst(out, ip, tcp);
    if (n)
        tun_write(&ns->tun, out, n);
}

static void while_asked(struct flow *f, const struct tcp_view *tcp) {
    if (tcp->flags & TCP_FLAG_RST)
        syn_input(f, IN_RST);
    else if (tcp->flags & TCP_FLAG_SYN)
        syn_input(f, IN_SYN);
}

static void to_lwip(struct flow *f, struct packet *p, const struct ip_view *ip,
                    const struct tcp_view *tcp) {
    uint8_t *at = p->data + (ip->payload - p->data);
    struct pbuf *b = packet_pbuf(p, at, ip->payload_len, tcp->payload_len > 0);
    if (!b)
        return;
    sight_enter(f);
    ip_deliver(ip, b);
    sight_leave(f);
}

static void on_tcp(struct netstack *ns, struct packet *p, const struct ip_view *ip) {
    struct tcp_view tcp;
    if (ip->fragment || !view_tcp(ip, &tcp)) {
        ns->tun.lost++;
        packet_free(p);
        return;
    }
    struct endpoint app = {.addr = ip->src, .port = tcp.src_port},
                    peer = {.addr = ip->dst, .port = tcp.dst_port};
    struct flow *f = flow_find(&ns->flows, &app, &peer);
    bool syn = (tcp.flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
    /* Used again, as the app's kernel knows it may be. */
    if (f && f->time_wait && syn) {
        syn_input(f, IN_ENDED);
        f = NULL;
    }
    if (f && f->pcb && tcp.payload_len && relay_full(f)) {
        ns->tun.lost++;
    } else if (f && f->pcb) {
        to_lwip(f, p, ip, &tcp);
        return;
    } else if (f) {
        while_asked(f, &tcp);
    } else {
        no_flow(ns, ip, &tcp);
    }
    packet_free(p);
}

static void on_packet(struct tun *t, struct packet *p) {
    struct netstack *ns = container_of(t, struct netstack, tun);
    struct ip_view ip, whole;
    const struct ip_view *v = &ip;
    if (!view_ip(p->data, p->len, &ip)) {
        t->lost++;
        packet_free(p);
        return;
    }
    if (ip.proto == IPPROTO_TCP) {
        on_tcp(ns, p, &ip);
        return;
    }
    if (ip.fragment)
        v = fragments_add(ns->fragments, &ip, loop_now(ns->loop), &whole) ? &whole : NULL;
    if (v && v->proto == IPPROTO_UDP)
        assoc_udp(ns, v);
    else if (v && v->proto == (v->version == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
        assoc_icmp(ns, v);
    packet_free(p);
}

static void on_tun_failed(struct tun *t, int err) {
    struct netstack *ns = container_of(t, struct netstack, tun);
    struct fault f;
    fault_set(&f, err, "read from tun0");
    event_failed(ns, f.text);
}

/* --- files -------------------------------------------------------------------------------------------------------------- */

struct files_call {
    struct netstack *ns;
    struct filesystem *fs;
    struct fault *f;
    int result;
};

static void do_files(void *arg) {
    struct files_call *c = arg;
    c->result = filesystem_attach(c->fs, c->ns->loop, c->f);
    if (c->result < 0)
        return;
    c->ns->files = c->fs;
    links_have_files(&c->ns->links);
}

static void on_refused(void *owner, const struct fault *why) {
    event_files_refused(owner, why->text);
}

int netstack_files(struct netstack *ns, uint32_t uid, uint32_t gid, bool writes, struct fault *f) {
    struct filesystem_settings settings = {
        .uid = uid, .gid = gid, .writes = writes, .refused = on_refused, .owner = ns};
    if (ns->files)
        return fault_set(f, EBUSY, "files are served already");
    struct files_call c = {.ns = ns, .fs = filesystem_new(&settings, f), .f = f};
    if (!c.fs)
        return -1;
    loop_call(ns->loop, do_files, &c);
    if (c.result < 0)
        filesystem_free(c.fs);
    return c.result;
}

uint64_t netstack_files_device(const struct netstack *ns) {
    return ns->files ? filesystem_device(ns->files) : 0;
}

void netstack_files_counters(struct netstack *ns, struct netstack_files_counters *out) {
    struct filesystem_counters c = {0};
    if (ns->files)
        filesystem_counters(ns->files, &c);
    *out = (struct netstack_files_counters){c.asked,  c.ahead, c.octets,
                                            c.opened, c.files, c.without_layer};
}

/* --- other calls ------------------------------------------------------------------------------------------------------ */

struct listeners_call {
    struct netstack *ns;
    int diag;
    uint32_t interval;
};

static void do_listeners(void *arg) {
    struct listeners_call *c = arg;
    listeners_set(c->ns, c->diag, c->interval);
}

int netstack_listeners(struct netstack *ns, uint32_t interval_ms, struct fault *f) {
    struct listeners_call c = {.ns = ns, .diag = -1, .interval = interval_ms};
    if (interval_ms && (c.diag = sockdiag_open(f)) < 0)
        return -1;
    loop_call(ns->loop, do_listeners, &c);
    return 0;
}

struct addresses_call {
    struct netstack *ns;
    const uint8_t *packed;
    size_t count;
};

static void do_addresses(void *arg) {
    struct addresses_call *c = arg;
    struct listeners *l = &c->ns->listeners;
    l->own_count = c->count;
    for (size_t i = 0; i < c->count; i++) {
        const uint8_t *p = c->packed + i * 17;
        l->own[i] = p[0] == 4 ? addr_v4(p + 1) : addr_v6(p + 1);
    }
}

int netstack_addresses(struct netstack *ns, const uint8_t *packed, size_t octets, struct fault *f) {
    struct addresses_call c = {.ns = ns, .packed = packed, .count = octets / 17};
    if (octets % 17 || c.count > LISTENERS_ADDRESSES)
        return fault_set(f, EINVAL, "%zu octets are not a list of addresses", octets);
    for (size_t i = 0; i < octets; i += 17)
        if (packed[i] != 4 && packed[i] != 6)
            return fault_set(f, EINVAL, "%u is no address family", packed[i]);
    loop_call(ns->loop, do_addresses, &c);
    return 0;
}

struct counters_call {
    struct netstack *ns;
    struct netstack_counters *out;
};

static void do_counters(void *arg) {
    struct counters_call *c = arg;
    struct netstack *ns = c->ns;
    *c->out = ns->counters;
    c->out->packets_in = ns->tun.packets_in;
    c->out->octets_in = ns->tun.octets_in;
    c->out->packets_out = ns->tun.packets_out;
    c->out->octets_out = ns->tun.octets_out;
    c->out->lost = ns->tun.lost;
    c->out->flows = ns->flows.alive;
    c->out->ticking = ns->ticking_count;
    c->out->associations = ns->assocs.count;
    for (struct link *l = ns->links.all; l; l = l->next)
        c->out->links += l->mux != NULL;
}

void netstack_counters(struct netstack *ns, struct netstack_counters *out) {
    struct counters_call c = {.ns = ns, .out = out};
    loop_call(ns->loop, do_counters, &c);
}

int netstack_outbox_fd(const struct netstack *ns) {
    return outbox_fd(ns->outbox);
}

size_t netstack_pull(struct netstack *ns, void *buf, size_t capacity) {
    return outbox_pull(ns->outbox, buf, capacity);
}

/* --- life ------------------------------------------------------------------------------------------------------------- */

struct netstack *netstack_new(int tun_fd, struct fault *f) {
    if (atomic_flag_test_and_set(&taken)) {
        fault_set(f, EBUSY, "there is a netstack in this process already");
        goto close_fd;
    }
    struct netstack *ns = calloc(1, sizeof *ns);
    if (!ns) {
        fault_set(f, ENOMEM, "make a netstack");
        goto give_back;
    }
    ns->tun.packet = on_packet;
    ns->tun.failed = on_tun_failed;
    ns->loop = loop_new(f);
    if (!ns->loop)
        goto free_ns;
    ns->links = (struct links){.ns = ns, .loop = ns->loop};
    ns->outbox = outbox_new(OUTBOX_OCTETS, f);
    if (!ns->outbox)
        goto free_loop;
    ns->fragments = fragments_new();
    if (!ns->fragments || !flow_table_init(&ns->flows) || !syn_init(ns)) {
        fault_set(f, ENOMEM, "make a netstack");
        goto free_parts;
    }
    if (tun_open(&ns->tun, ns->loop, tun_fd, f) < 0)
        goto stop_syn;
    sight_init(ns);
    assoc_init(ns);
    listeners_init(ns);
    accepted_init(ns);
    ip_attach(&ns->tun);
    return ns;

stop_syn:
    syn_stop(ns);
free_parts:
    flow_table_free(&ns->flows);
    if (ns->fragments)
        fragments_free(ns->fragments);
    outbox_free(ns->outbox);
free_loop:
    loop_free(ns->loop);
free_ns:
    free(ns);
give_back:
    atomic_flag_clear(&taken);
close_fd:
    close(tun_fd);
    return NULL;
}

int netstack_run(struct netstack *ns, struct fault *f) {
    return loop_run(ns->loop, f);
}

void netstack_stop(struct netstack *ns) {
    loop_stop(ns->loop);
}

/* Links first: their end resets every flow and association that has a channel. What has none is TIME_WAIT and the like. */
static void do_clear(void *arg) {
    struct netstack *ns = arg;
    links_clear(&ns->links);
    assoc_stop(ns);
    listeners_stop(ns);
    accepted_stop(ns);
    flow_end_all(ns);
    sight_stop(ns);
    tun_close(&ns->tun);
}

void netstack_free(struct netstack *ns) {
    ip_attach(NULL); /* silence, not resets: the interface goes with us */
    links_stop_filing(ns);
    loop_call(ns->loop, do_clear, ns);
    if (ns->files)
        filesystem_free(ns->files);
    syn_stop(ns);
    flow_table_free(&ns->flows);
    fragments_free(ns->fragments);
    chunk_pool_free(&ns->chunks);
    outbox_free(ns->outbox);
    if (ns->filing.loop)
        loop_free(ns->filing.loop);
    loop_free(ns->loop);
    memory_forget();
    free(ns);
    atomic_flag_clear(&taken);
}
