/* See ip.h. */
#include "layer/netstack/ip.h"
#include "layer/netstack/isn.h"
#include "layer/netstack/tun.h"

#include "lwip/ip.h"
#include "lwip/priv/tcp_priv.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define PARTS 64 /* of one packet; more are joined first */

struct ip_globals ip_data;
const ip_addr_t ip_addr_any_type = IPADDR_ANY_TYPE_INIT;

static struct netif the_netif;
static struct tun *the_tun;
static uint32_t secret;

void ip_attach(struct tun *t) {
    the_tun = t;
    if (getrandom(&secret, sizeof secret, GRND_NONBLOCK) != sizeof secret)
        secret = (uint32_t)(uintptr_t)t;
}

ip_addr_t ip_of(const struct addr *a) {
    ip_addr_t ip = {.type = a->family == 4 ? IPADDR_TYPE_V4 : IPADDR_TYPE_V6};
    memcpy(&ip.u_addr, a->ip, sizeof a->ip);
    return ip;
}

void ip_deliver(const struct ip_view *ip, struct pbuf *b) {
    ip_data.current_netif = ip_data.current_input_netif = &the_netif;
    ip_data.current_iphdr_src = ip_of(&ip->src);
    ip_data.current_iphdr_dest = ip_of(&ip->dst);
    tcp_input(b, &the_netif);
}

/* One packet: virtio header, IP header, then the pbufs as they are. */
static err_t send_tcp(struct pbuf *b, const struct addr *src, const struct addr *dst) {
    uint8_t head[40];
    struct iovec iov[2 + PARTS];
    int parts = 2;
    struct pbuf *joined = NULL;
    if (!the_tun)
        return ERR_OK;
    struct tcphdr *tcp = b->payload;
    /* The sum of the pseudo header, not complemented: what is "still to be made" is added to it (skb_checksum_help). */
    tcp->check =
        (uint16_t)~htons(checksum_fold(checksum_pseudo(src, dst, IPPROTO_TCP, b->tot_len)));
    size_t head_len = view_write_ip(head, src, dst, IPPROTO_TCP, b->tot_len);
    iov[1] = (struct iovec){head, head_len};
    if (pbuf_clen(b) > PARTS) {
        joined = pbuf_clone(PBUF_RAW, PBUF_RAM, b);
        if (!joined)
            return ERR_MEM;
        b = joined;
    }
    for (struct pbuf *p = b; p; p = p->next)
        if (p->len)
            iov[parts++] = (struct iovec){p->payload, p->len};
    tun_writev(the_tun, iov, parts, head_len, offsetof(struct tcphdr, check));
    if (joined)
        pbuf_free(joined);
    return ERR_OK;
}

err_t ip4_output_if(struct pbuf *p, const ip4_addr_t *src, const ip4_addr_t *dest, u8_t ttl,
                    u8_t tos, u8_t proto, struct netif *netif) {
    (void)ttl, (void)tos, (void)proto, (void)netif;
    struct addr from = addr_v4(src), to = addr_v4(dest);
    return send_tcp(p, &from, &to);
}

err_t ip6_output_if(struct pbuf *p, const ip6_addr_t *src, const ip6_addr_t *dest, u8_t hl, u8_t tc,
                    u8_t nexth, struct netif *netif) {
    (void)hl, (void)tc, (void)nexth, (void)netif;
    struct addr from = addr_v6(src), to = addr_v6(dest);
    return send_tcp(p, &from, &to);
}

struct netif *ip4_route(const ip4_addr_t *dest) {
    (void)dest;
    return &the_netif;
}

struct netif *ip6_route(const ip6_addr_t *src, const ip6_addr_t *dest) {
    (void)src, (void)dest;
    return &the_netif;
}

struct netif *netif_get_by_index(u8_t idx) {
    (void)idx;
    return &the_netif;
}

/* Asked only for a pcb without an address of its own, and ours are never without. */
const ip_addr_t *ip6_select_source_address(struct netif *netif, const ip6_addr_t *dest) {
    (void)netif, (void)dest;
    return NULL;
}

/* RFC 6528: a clock of 4 us and a keyed hash of the four, so that a pair of ends used again starts above its last time. */
u32_t netstack_isn(const ip_addr_t *own, u16_t own_port, const ip_addr_t *peer, u16_t peer_port) {
    struct endpoint a = {.port = own_port}, b = {.port = peer_port};
    struct timespec now;
    memcpy(a.addr.ip, &own->u_addr, IP_IS_V6(own) ? 16 : 4);
    memcpy(b.addr.ip, &peer->u_addr, IP_IS_V6(peer) ? 16 : 4);
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t us4 = (uint64_t)now.tv_sec * 250000u + (uint64_t)now.tv_nsec / 4000u;
    return (u32_t)us4 + endpoint_pair_hash(&a, &b, secret);
}
