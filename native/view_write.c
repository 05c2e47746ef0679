/* Packets written from fields, with their checksums: UDP, TCP resets, ICMP errors. Sources beside each function. */
#include "view.h"

#include "fault.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

enum { HOPS = 64, ICMP4_QUOTE = 576 - 20 - 8, ICMP6_QUOTE = 1280 - 40 - 8 };

static void put16(uint8_t *out, uint16_t v) {
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

static void put32(uint8_t *out, uint32_t v) {
    put16(out, (uint16_t)(v >> 16));
    put16(out + 2, (uint16_t)v);
}

/* RFC 1071: the sum may be taken over words of any width and folded later, and in either order of octets. Here: 64 bits at a
 * time as the machine reads them, swapped once at the end. */
uint32_t checksum_add(uint32_t sum, const void *p, size_t n) {
    const uint8_t *at = p;
    uint64_t low = 0, high = 0;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        low += (uint32_t)word;
        high += word >> 32;
        at += 8;
        n -= 8;
    }
    uint64_t last = 0;
    memcpy(&last, at, n);
    uint64_t total = low + high + (uint32_t)last + (last >> 32);
    while (total >> 16 != 0)
        total = (total & 0xffff) + (total >> 16);
    uint64_t whole = (uint64_t)sum + ntohs((uint16_t)total);
    return (uint32_t)((whole & 0xffffffff) + (whole >> 32));
}

uint16_t checksum_fold(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

uint32_t checksum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto,
                         uint32_t len) {
    size_t width = src->family == 4 ? 4 : 16;
    uint32_t sum = checksum_add(0, src->ip, width);
    sum = checksum_add(sum, dst->ip, width);
    return sum + proto + (len >> 16) + (len & 0xffff);
}

size_t view_write_ip(uint8_t *out, const struct addr *src, const struct addr *dst, uint8_t proto,
                     size_t len) {
    CHECK(src->family == dst->family && len <= 65535);
    if (src->family == 4) {
        CHECK(len <= 65535 - 20);
        memset(out, 0, 20);
        out[0] = 0x45;
        put16(out + 2, (uint16_t)(20 + len));
        out[6] = 0x40; /* DF: with it an id of 0 is right (RFC 6864 4.1) */
        out[8] = HOPS;
        out[9] = proto;
        memcpy(out + 12, src->ip, 4);
        memcpy(out + 16, dst->ip, 4);
        put16(out + 10, checksum_fold(checksum_add(0, out, 20)));
        return 20;
    }
    memset(out, 0, 8);
    out[0] = 0x60;
    put16(out + 4, (uint16_t)len);
    out[6] = proto;
    out[7] = HOPS;
    memcpy(out + 8, src->ip, 16);
    memcpy(out + 24, dst->ip, 16);
    return 40;
}

/* Of a transport's `len` octets at `p`, whose checksum field is zero. */
static uint16_t transport_checksum(const struct addr *src, const struct addr *dst, uint8_t proto,
                                   const uint8_t *p, size_t len) {
    return checksum_fold(checksum_add(checksum_pseudo(src, dst, proto, (uint32_t)len), p, len));
}

/* RFC 768: a checksum of zero means none, so zero is sent as all ones. */
size_t view_write_udp(uint8_t *out, const struct endpoint *src, const struct endpoint *dst,
                      const void *p, size_t n) {
    size_t ip = view_write_ip(out, &src->addr, &dst->addr, IPPROTO_UDP, 8 + n);
    uint8_t *udp = out + ip;
    put16(udp, src->port);
    put16(udp + 2, dst->port);
    put16(udp + 4, (uint16_t)(8 + n));
    put16(udp + 6, 0);
    if (n > 0)
        memcpy(udp + 8, p, n);
    uint16_t sum = transport_checksum(&src->addr, &dst->addr, IPPROTO_UDP, udp, 8 + n);
    put16(udp + 6, sum != 0 ? sum : 0xffff);
    return ip + 8 + n;
}

/* RFC 9293 3.10.7.1, to a segment for a connection that does not exist: with an ACK, the reset has its number; without,
 * it is numbered 0 and acknowledges the segment. No reset answers a reset: 0. */
size_t view_write_tcp_rst(uint8_t *out, const struct ip_view *ip, const struct tcp_view *tcp) {
    if (tcp->flags & TCP_FLAG_RST)
        return 0;
    size_t head = view_write_ip(out, &ip->dst, &ip->src, IPPROTO_TCP, 20);
    uint8_t *p = out + head;
    memset(p, 0, 20);
    put16(p, tcp->dst_port);
    put16(p + 2, tcp->src_port);
    p[12] = 5 << 4;
    p[13] = TCP_FLAG_RST;
    if (tcp->flags & TCP_FLAG_ACK) {
        put32(p + 4, tcp->ack);
    } else {
        uint32_t length = (uint32_t)tcp->payload_len + ((tcp->flags & TCP_FLAG_SYN) != 0) +
                          ((tcp->flags & TCP_FLAG_FIN) != 0);
        put32(p + 8, tcp->seq + length);
        p[13] |= TCP_FLAG_ACK;
    }
    put16(p + 16, transport_checksum(&ip->dst, &ip->src, IPPROTO_TCP, p, 20));
    return head + 20;
}

/* ICMP code (RFC 792, RFC 1122 3.2.2.1, RFC 1812 5.2.7.1) and ICMPv6 code (RFC 4443 3.1) for an errno; false: none. What an
 * app's connect(2) makes of each is Linux's: net/ipv4/icmp.c icmp_err_convert, net/ipv6/icmp.c tab_unreach. */
static bool codes(int err, uint8_t *v4, uint8_t *v6) {
    switch (err) {
    case ENETUNREACH:
        *v4 = 0;
        *v6 = 0;
        return true;
    case EHOSTUNREACH:
        *v4 = 1;
        *v6 = 3;
        return true;
    case ECONNREFUSED:
        *v4 = 3;
        *v6 = 4;
        return true;
    case EPERM:
    case EACCES:
        *v4 = 13;
        *v6 = 1;
        return true;
    default:
        return false;
    }
}

/* RFC 1122 3.2.2: never about an ICMP error, a fragment but the first, or what was sent to or from no single host. */
static bool may_complain(const struct ip_view *ip) {
    const uint8_t *p = ip->payload;
    if (ip->frag_offset != 0)
        return false;
    if (ip->version == 4)
        return ip->dst.ip[0] < 224 && ip->src.ip[0] < 224 &&
               (ip->proto != IPPROTO_ICMP || (ip->payload_len > 0 && p[0] == 8));
    return ip->dst.ip[0] != 0xff && ip->src.ip[0] != 0xff &&
           (ip->proto != IPPROTO_ICMPV6 || (ip->payload_len > 0 && p[0] >= 128));
}

size_t view_write_unreachable(uint8_t *out, const struct ip_view *packet, int err) {
    uint8_t code4, code6;
    if (!codes(err, &code4, &code6) || !may_complain(packet))
        return 0;
    bool v4 = packet->version == 4;
    size_t whole = (size_t)(packet->payload - packet->packet) + packet->payload_len;
    size_t most = v4 ? ICMP4_QUOTE : ICMP6_QUOTE;
    size_t quote = whole < most ? whole : most;
    size_t head = view_write_ip(out, &packet->dst, &packet->src, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6,
                                8 + quote);
    uint8_t *p = out + head;
    memset(p, 0, 8);
    p[0] = v4 ? 3 : 1;
    p[1] = v4 ? code4 : code6;
    memcpy(p + 8, packet->packet, quote);
    put16(p + 2, v4 ? checksum_fold(checksum_add(0, p, 8 + quote))
                    : transport_checksum(&packet->dst, &packet->src, IPPROTO_ICMPV6, p, 8 + quote));
    return head + 8 + quote;
}
