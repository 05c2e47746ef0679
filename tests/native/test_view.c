/* Views of packets and packets written: known packets octet by octet, checksums against the plain definition, and what is
 * no packet. */
#include "check.h"
#include "view.h"

#include <errno.h>
#include <netinet/in.h>

static const uint8_t client6[16] = {0xfd, 0, 1, 0x98, 0, 0x18, [15] = 2};
static const uint8_t server6[16] = {0xfd, 0, 1, 0x98, 0, 0x18, [15] = 9};

static struct endpoint client(int family) {
    return (struct endpoint){.addr = family == 4 ? addr_v4("\xc6\x12\x00\x02") : addr_v6(client6),
                             .port = 40000};
}

static struct endpoint server(int family) {
    return (struct endpoint){.addr = family == 4 ? addr_v4("\xc6\x12\x00\x09") : addr_v6(server6),
                             .port = 80};
}

/* RFC 1071, as its text has it: 16 bits at a time. */
static uint32_t plain_sum(uint32_t sum, const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint32_t)p[i] << 8 | (i + 1 < n ? p[i + 1] : 0);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

static void checksums(void) {
    static uint8_t octets[70000];
    uint32_t state = 7;
    for (size_t i = 0; i < sizeof octets; i++) {
        state = state * 1664525 + 1013904223;
        octets[i] = (uint8_t)(state >> 24);
    }
    for (size_t n = 0; n < sizeof octets; n = n < 100 ? n + 1 : n * 2 + 1) {
        for (size_t skip = 0; skip < 9; skip++) {
            uint16_t expected = (uint16_t)~plain_sum(0x1234, octets + skip, n < 60000 ? n : 60000);
            EXPECT(checksum_fold(checksum_add(0x1234, octets + skip, n < 60000 ? n : 60000)) ==
                   expected);
        }
    }
    memset(octets, 0xff, sizeof octets);
    EXPECT(checksum_fold(checksum_add(0xffffffff, octets, sizeof octets)) == 0);
    /* RFC 1071 section 3's example. */
    EXPECT(checksum_fold(checksum_add(0, "\x00\x01\xf2\x03\xf4\xf5\xf6\xf7", 8)) ==
           (uint16_t)~0xddf2);
}

/* The checksums of a packet are right when they make the sum all ones. */
static bool sums_right(const struct ip_view *ip) {
    if (ip->version == 4 && checksum_fold(checksum_add(0, ip->packet, ip->header_len)) != 0)
        return false;
    uint32_t sum = ip->proto == IPPROTO_ICMP
                       ? 0
                       : checksum_pseudo(&ip->src, &ip->dst, ip->proto, (uint32_t)ip->payload_len);
    return checksum_fold(checksum_add(sum, ip->payload, ip->payload_len)) == 0;
}

static void udp(void) {
    static uint8_t packet[66000];
    for (int family = 4; family <= 6; family += 2) {
        struct endpoint src = server(family), dst = client(family);
        static const size_t lengths[] = {0, 1, 2, 1400, 65507};
        for (size_t i = 0; i < 5; i++) {
            static uint8_t payload[65507];
            memset(payload, 'u', sizeof payload);
            size_t n = view_write_udp(packet, &src, &dst, payload, lengths[i]);
            EXPECT(n == (family == 4 ? 28 : 48) + lengths[i]);
            struct ip_view ip;
            struct udp_view u;
            EXPECT(view_ip(packet, n, &ip) && view_udp(&ip, &u) && sums_right(&ip));
            EXPECT(ip.version == family && ip.ttl == 64 && !ip.fragment &&
                   ip.header_len == n - lengths[i] - 8);
            EXPECT(memcmp(&ip.src, &src.addr, sizeof ip.src) == 0 &&
                   memcmp(&ip.dst, &dst.addr, sizeof ip.dst) == 0);
            EXPECT(u.src_port == 80 && u.dst_port == 40000 && u.payload_len == lengths[i]);
            EXPECT(memcmp(u.payload, payload, lengths[i]) == 0);
            EXPECT(!view_ip(packet, n - 1, &ip)); /* an octet too few */
            struct tcp_view t;
            EXPECT(!view_tcp(&ip, &t));
        }
    }
}

/* A UDP payload chosen so that the sum is zero, which on the wire would mean "no checksum". */
static void udp_zero_checksum(void) {
    struct endpoint src = server(4), dst = client(4);
    uint8_t packet[64], payload[2] = {0, 0};
    view_write_udp(packet, &src, &dst, payload, 2);
    memcpy(payload, packet + 26, 2); /* its complement as payload brings the sum to zero */
    view_write_udp(packet, &src, &dst, payload, 2);
    EXPECT(packet[26] == 0xff && packet[27] == 0xff);
}

/* A TCP segment of 20 + `n` octets in an IP packet. */
static size_t segment(uint8_t *out, int family, uint8_t flags, uint32_t seq, uint32_t ack,
                      size_t n) {
    struct endpoint src = client(family), dst = server(family);
    size_t head = view_write_ip(out, &src.addr, &dst.addr, IPPROTO_TCP, 20 + n);
    uint8_t *p = out + head;
    memset(p, 0, 20 + n);
    p[0] = 40000 >> 8;
    p[1] = 40000 & 255;
    p[3] = 80;
    for (int i = 0; i < 4; i++) {
        p[4 + i] = (uint8_t)(seq >> (24 - 8 * i));
        p[8 + i] = (uint8_t)(ack >> (24 - 8 * i));
    }
    p[12] = 5 << 4;
    p[13] = flags;
    p[14] = 0x12;
    p[15] = 0x34;
    return head + 20 + n;
}

static void tcp_resets(void) {
    uint8_t in[200], out[200];
    struct ip_view ip;
    struct tcp_view t;
    for (int family = 4; family <= 6; family += 2) {
        size_t n = segment(in, family, TCP_FLAG_SYN, 0xfffffffe, 0, 10);
        EXPECT(view_ip(in, n, &ip) && view_tcp(&ip, &t));
        EXPECT(t.src_port == 40000 && t.dst_port == 80 && t.seq == 0xfffffffe &&
               t.window == 0x1234 && t.payload_len == 10);
        n = view_write_tcp_rst(out, &ip, &t);
        EXPECT(view_ip(out, n, &ip) && view_tcp(&ip, &t) && sums_right(&ip));
        EXPECT(t.flags == (TCP_FLAG_RST | TCP_FLAG_ACK) && t.seq == 0 &&
               t.ack == 9); /* SYN and ten octets, past the wrap */
        EXPECT(t.src_port == 80 && t.dst_port == 40000 && ip.src.ip[family == 4 ? 3 : 15] == 9);

        n = segment(in, family, TCP_FLAG_ACK | TCP_FLAG_FIN, 5, 1000, 0);
        EXPECT(view_ip(in, n, &ip) && view_tcp(&ip, &t));
        n = view_write_tcp_rst(out, &ip, &t);
        EXPECT(view_ip(out, n, &ip) && view_tcp(&ip, &t) && sums_right(&ip));
        EXPECT(t.flags == TCP_FLAG_RST && t.seq == 1000);

        n = segment(in, family, TCP_FLAG_RST, 5, 1000, 0);
        EXPECT(view_ip(in, n, &ip) && view_tcp(&ip, &t) && view_write_tcp_rst(out, &ip, &t) == 0);
        in[n - 8] = 4 << 4; /* a header shorter than any */
        EXPECT(view_ip(in, n, &ip) && !view_tcp(&ip, &t));
        in[n - 8] = 6 << 4; /* longer than the packet */
        EXPECT(view_ip(in, n, &ip) && !view_tcp(&ip, &t));
    }
}

static void unreachables(void) {
    static const struct {
        int err;
        uint8_t code4, code6;
    } cases[] = {{ENETUNREACH, 0, 0},
                 {EHOSTUNREACH, 1, 3},
                 {ECONNREFUSED, 3, 4},
                 {EACCES, 13, 1},
                 {EPERM, 13, 1}};
    static uint8_t in[3000], out[VIEW_UNREACHABLE];
    for (int family = 4; family <= 6; family += 2) {
        struct ip_view ip;
        for (size_t size = 0; size < 2000; size += 999) {
            size_t n = segment(in, family, TCP_FLAG_SYN, 1, 0, size);
            for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                EXPECT(view_ip(in, n, &ip));
                size_t m = view_write_unreachable(out, &ip, cases[i].err);
                EXPECT(m > 0 && m <= (family == 4 ? 576 : 1280) && view_ip(out, m, &ip) &&
                       sums_right(&ip));
                EXPECT(ip.proto == (family == 4 ? IPPROTO_ICMP : IPPROTO_ICMPV6));
                EXPECT(ip.payload[0] == (family == 4 ? 3 : 1));
                EXPECT(ip.payload[1] == (family == 4 ? cases[i].code4 : cases[i].code6));
                EXPECT(memcmp(ip.payload + 8, in, ip.payload_len - 8) == 0);
                EXPECT(ip.payload_len - 8 == n || m == (family == 4 ? 576 : 1280));
            }
            EXPECT(view_ip(in, n, &ip) && view_write_unreachable(out, &ip, ETIMEDOUT) == 0);
        }
        /* Not about an ICMP error, and not to a group (RFC 1122 3.2.2). */
        size_t n = segment(in, family, TCP_FLAG_SYN, 1, 0, 0);
        EXPECT(view_ip(in, n, &ip));
        size_t m = view_write_unreachable(out, &ip, EHOSTUNREACH);
        struct ip_view error;
        EXPECT(view_ip(out, m, &error));
        static uint8_t again[VIEW_UNREACHABLE];
        EXPECT(view_write_unreachable(again, &error, EHOSTUNREACH) == 0);
        ip.dst.ip[0] = 0xff;
        EXPECT(view_write_unreachable(out, &ip, EHOSTUNREACH) == 0);
    }
}

static void ip4_fields(void) {
    uint8_t p[60] = {0x46, 0, 0, 32, 0xab, 0xcd, 0x20, 0x01, 7, IPPROTO_UDP};
    struct ip_view v;
    struct udp_view u;
    EXPECT(view_ip(p, 40, &v)); /* padded, as Ethernet does */
    EXPECT(v.header_len == 24 && v.payload_len == 8 && v.ttl == 7);
    EXPECT(v.fragment && v.more && v.frag_offset == 8 && v.frag_id == 0xabcd && !view_udp(&v, &u));
    p[2] = p[3] = 0; /* BIG TCP */
    EXPECT(view_ip(p, 40, &v) && v.payload_len == 16);
    p[0] = 0x44; /* a header of 16 */
    EXPECT(!view_ip(p, 40, &v));
    p[0] = 0x4f; /* one of 60 */
    EXPECT(!view_ip(p, 59, &v));
    p[0] = 0x56;
    EXPECT(!view_ip(p, 40, &v) && !view_ip(p, 0, &v));
}

static void ip6_extensions(void) {
    uint8_t p[200] = {0x60, [6] = IPPROTO_HOPOPTS, [7] = 9};
    memcpy(p + 8, client6, 16);
    memcpy(p + 24, server6, 16);
    uint8_t *at = p + 40;
    at[0] = IPPROTO_DSTOPTS;
    at += 8;
    at[0] = IPPROTO_ROUTING;
    at[1] = 1; /* 16 octets */
    at += 16;
    at[0] = IPPROTO_FRAGMENT;
    at += 8;
    memcpy(at, "\x11\x00\x00\x01\x01\x02\x03\x04", 8); /* the first of several */
    at += 8;
    at[5] = 12; /* UDP's length */
    at += 12;
    size_t n = (size_t)(at - p);
    p[5] = (uint8_t)(n - 40);
    struct ip_view v;
    EXPECT(view_ip(p, n, &v) && v.proto == IPPROTO_UDP && v.payload == at - 12 &&
           v.payload_len == 12 && v.header_len == 80);
    EXPECT(v.fragment && v.more && v.frag_offset == 0 && v.frag_id == 0x01020304 && v.ttl == 9);

    for (size_t cut = 0; cut < n; cut++) /* whatever is missing, it is no packet or a shorter one */
        EXPECT(!view_ip(p, cut, &v));
    for (uint8_t length = 0; length < n - 40; length++) {
        p[5] = length;
        if (view_ip(p, n, &v) && length > 0)
            EXPECT(length >= 40 && v.payload_len == length - 40u);
    }
    memset(p + 40, 0, sizeof p - 40); /* hop-by-hop after hop-by-hop, for ever */
    p[5] = 160;
    EXPECT(!view_ip(p, 200, &v));
    memcpy(p + 8, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04", 16);
    p[6] = IPPROTO_UDP;
    EXPECT(!view_ip(p, 200, &v)); /* an IPv4-mapped source */
}

/* A fragment with an offset of its own: what follows the fragment header is data, whatever it looks like. */
static void later_fragment(void) {
    uint8_t p[60] = {0x60, [5] = 20, [6] = IPPROTO_FRAGMENT};
    memcpy(p + 40, "\x3c\x00\x05\xa8\x00\x00\x00\x09", 8); /* "destination options" next, at 1448 */
    struct ip_view v;
    EXPECT(view_ip(p, 60, &v) && v.proto == IPPROTO_DSTOPTS && v.frag_offset == 1448 && !v.more &&
           v.fragment);
    EXPECT(v.payload_len == 12);
}

static const struct test tests[] = {
    TEST(checksums),    TEST(udp),        TEST(udp_zero_checksum), TEST(tcp_resets),
    TEST(unreachables), TEST(ip4_fields), TEST(ip6_extensions),    TEST(later_fragment)};
CHECK_MAIN(tests)
