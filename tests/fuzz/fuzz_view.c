/* Invariant: whatever the packet, its views stay inside it; and what is written in answer to it is a whole packet, from its
 * destination to its source, no longer than promised.
 *
 * Sources: native
 */
#include "native/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(bool holds) {
    if (!holds)
        abort();
}

static void inside(const uint8_t *part, size_t len, const uint8_t *p, size_t n) {
    check(part >= p && len <= n && part + len <= p + n);
}

static void answers(const struct ip_view *ip, const uint8_t *packet, size_t len) {
    struct ip_view back;
    check(view_ip(packet, len, &back));
    check(memcmp(&back.src, &ip->dst, sizeof back.src) == 0);
    check(memcmp(&back.dst, &ip->src, sizeof back.dst) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static uint8_t out[VIEW_UNREACHABLE];
    struct ip_view ip;
    struct tcp_view tcp;
    struct udp_view udp;
    if (n > 65535 || !view_ip(p, n, &ip))
        return 0;
    check(ip.packet == p && ip.header_len <= n);
    inside(ip.payload, ip.payload_len, p, n);
    if (view_tcp(&ip, &tcp)) {
        inside(tcp.payload, tcp.payload_len, ip.payload, ip.payload_len);
        size_t len = view_write_tcp_rst(out, &ip, &tcp);
        check(len <= 60);
        if (len)
            answers(&ip, out, len);
        check(!(tcp.flags & TCP_FLAG_RST) || len == 0);
    }
    if (view_udp(&ip, &udp))
        inside(udp.payload, udp.payload_len, ip.payload, ip.payload_len);
    static const int errors[] = {ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, EACCES, ETIMEDOUT};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        size_t len = view_write_unreachable(out, &ip, errors[i]);
        check(len <= VIEW_UNREACHABLE);
        if (len)
            answers(&ip, out, len);
    }
    return 0;
}
