/* IP, TCP and UDP headers read in place. Sources: RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 2675 (jumbograms). */
#include "view.h"

#include "span.h"

#include <netinet/in.h>
#include <string.h>

enum { EXTENSIONS = 8, IP4_MORE = 0x2000, IP4_OFFSET = 0x1fff };

static bool view_ip4(const uint8_t *p, size_t n, struct ip_view *v) {
    if (n < 20)
        return false;
    size_t header = (size_t)(p[0] & 15) * 4, total = (size_t)p[2] << 8 | p[3];
    if (total == 0) /* BIG TCP: more than a u16 holds, and only the buffer knows */
        total = n;
    if (header < 20 || total < header || total > n)
        return false;
    uint16_t fragment = (uint16_t)(p[6] << 8 | p[7]);
    v->version = 4;
    v->proto = p[9];
    v->ttl = p[8];
    v->more = (fragment & IP4_MORE) != 0;
    v->frag_offset = (uint32_t)(fragment & IP4_OFFSET) * 8;
    v->fragment = v->more || v->frag_offset != 0;
    v->frag_id = (uint32_t)p[4] << 8 | p[5];
    v->src = addr_v4(p + 12);
    v->dst = addr_v4(p + 16);
    v->header_len = header;
    v->payload = p + header;
    v->payload_len = total - header;
    return true;
}

/* The fragment header (RFC 8200 4.5), of which 8 octets were checked to be there. */
static void fragment_header(const uint8_t *p, struct ip_view *v) {
    uint16_t field = (uint16_t)(p[2] << 8 | p[3]);
    v->frag_offset = field & 0xfff8u;
    v->more = (field & 1) != 0;
    v->fragment = v->more || v->frag_offset != 0;
    v->frag_id = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
}

/* Walks the extension headers; the span is left at the transport's header. */
static bool extensions(struct span *s, struct ip_view *v) {
    for (int i = 0; i <= EXTENSIONS; i++) {
        bool fragment = v->proto == IPPROTO_FRAGMENT;
        if (!fragment && v->proto != IPPROTO_HOPOPTS && v->proto != IPPROTO_ROUTING &&
            v->proto != IPPROTO_DSTOPTS)
            return true;
        const uint8_t *p = s->at;
        if (span_left(s) < 8)
            return false;
        const uint8_t *skipped;
        if (!span_take(s, fragment ? 8 : ((size_t)p[1] + 1) * 8, &skipped))
            return false;
        v->proto = p[0];
        if (!fragment)
            continue;
        fragment_header(p, v);
        if (v->frag_offset != 0) /* what follows is not a header */
            return true;
    }
    return false;
}

static bool view_ip6(const uint8_t *p, size_t n, struct ip_view *v) {
    if (n < 40)
        return false;
    size_t length = (size_t)p[4] << 8 | p[5];
    if (length == 0 &&
        p[6] == IPPROTO_HOPOPTS) /* a jumbogram's length is in an option; the buffer knows it too */
        length = n - 40;
    if (length > n - 40)
        return false;
    v->version = 6;
    v->proto = p[6];
    v->ttl = p[7];
    v->src = addr_v6(p + 8);
    v->dst = addr_v6(p + 24);
    if (v->src.family != 6 ||
        v->dst.family != 6) /* IPv4-mapped: for a program's sockets, never for a packet */
        return false;
    struct span s = span_of(p + 40, length);
    if (!extensions(&s, v))
        return false;
    v->payload = s.at;
    v->payload_len = span_left(&s);
    v->header_len = (size_t)(s.at - p);
    return true;
}

bool view_ip(const uint8_t *p, size_t n, struct ip_view *v) {
    struct ip_view found = {.packet = p};
    if (n == 0)
        return false;
    if (!(p[0] >> 4 == 4 ? view_ip4(p, n, &found) : p[0] >> 4 == 6 && view_ip6(p, n, &found)))
        return false;
    *v = found;
    return true;
}

bool view_tcp(const struct ip_view *ip, struct tcp_view *v) {
    const uint8_t *p = ip->payload;
    if (ip->proto != IPPROTO_TCP || ip->frag_offset != 0 || ip->payload_len < 20)
        return false;
    size_t header = (size_t)(p[12] >> 4) * 4;
    if (header < 20 || header > ip->payload_len)
        return false;
    v->src_port = (uint16_t)(p[0] << 8 | p[1]);
    v->dst_port = (uint16_t)(p[2] << 8 | p[3]);
    v->seq = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
    v->ack = (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
    v->flags = p[13] & 0x1f;
    v->window = (uint16_t)(p[14] << 8 | p[15]);
    v->payload = p + header;
    v->payload_len = ip->payload_len - header;
    return true;
}

bool view_udp(const struct ip_view *ip, struct udp_view *v) {
    const uint8_t *p = ip->payload;
    if (ip->proto != IPPROTO_UDP || ip->fragment || ip->payload_len < 8)
        return false;
    size_t length = (size_t)p[4] << 8 | p[5];
    if (length < 8 || length > ip->payload_len)
        return false;
    v->src_port = (uint16_t)(p[0] << 8 | p[1]);
    v->dst_port = (uint16_t)(p[2] << 8 | p[3]);
    v->payload = p + 8;
    v->payload_len = length - 8;
    return true;
}
