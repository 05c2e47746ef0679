/* Views of IP packets: parse once, bounded, then read fields; and the writing of headers and checksums.
 *
 * A view borrows the packet. IPv4 options and IPv6 extension headers (hop-by-hop, routing, destination, fragment) are
 * walked, at most 8. BIG TCP frames (IPv4 total length 0, IPv6 jumbo) take the length of the buffer.
 */
#pragma once

#include "addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ip_view {
    uint8_t version; /* 4 or 6 */
    uint8_t proto;   /* the transport's, after extension headers */
    uint8_t ttl;
    bool fragment;        /* part of a datagram; the transport header is only in the first */
    bool more;            /* more fragments follow */
    uint32_t frag_offset; /* octets */
    uint32_t frag_id;
    struct addr src, dst;
    const uint8_t *payload; /* the transport's header and data */
    size_t payload_len;
    const uint8_t *packet;
    size_t header_len;
};

enum { TCP_FLAG_FIN = 1, TCP_FLAG_SYN = 2, TCP_FLAG_RST = 4, TCP_FLAG_PSH = 8, TCP_FLAG_ACK = 16 };

struct tcp_view {
    uint16_t src_port, dst_port, window;
    uint32_t seq, ack;
    uint8_t flags;
    const uint8_t *payload;
    size_t payload_len;
};

struct udp_view {
    uint16_t src_port, dst_port;
    const uint8_t *payload;
    size_t payload_len;
};

bool view_ip(const uint8_t *p, size_t n, struct ip_view *v); /* false: not a whole IP packet */
bool view_tcp(const struct ip_view *ip, struct tcp_view *v); /* false: not a whole TCP header */
bool view_udp(const struct ip_view *ip, struct udp_view *v); /* false: not a whole UDP datagram */

/* RFC 1071. A partial sum (`n` is even but for the last piece), and its end: complemented, to be stored big-endian. */
uint32_t checksum_add(uint32_t sum, const void *p, size_t n);
uint16_t checksum_fold(uint32_t sum);
uint32_t checksum_pseudo(const struct addr *src, const struct addr *dst, uint8_t proto,
                         uint32_t len);

/* Writes an IP header of 20 or 40 octets for `len` octets of transport; returns its length. */
size_t view_write_ip(uint8_t *out, const struct addr *src, const struct addr *dst, uint8_t proto,
                     size_t len);
/* Whole packets. Each returns the packet's length, and 0 where the protocol has no answer (to a reset, to an ICMP error…).
 * `out` must hold payload + 60. */
size_t view_write_udp(uint8_t *out, const struct endpoint *src, const struct endpoint *dst,
                      const void *p, size_t n);
/* RFC 9293 3.10.7.1 */
size_t view_write_tcp_rst(uint8_t *out, const struct ip_view *ip, const struct tcp_view *tcp);
/* ICMP/ICMPv6 destination unreachable for `packet` (whose head is quoted), from its destination to its source.
 * `err` is an errno of connect(2); 0 when there is no ICMP for it. `out` must hold VIEW_UNREACHABLE. RFC 792, RFC 4443 3.1. */
#define VIEW_UNREACHABLE 1280
size_t view_write_unreachable(uint8_t *out, const struct ip_view *packet, int err);
