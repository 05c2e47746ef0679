/* Where an app may go: the metadata services in all their spellings, and what lies right beside them. */
#include "agent/reach.h"

#include "check.h"

#include <arpa/inet.h>

static struct addr of(const char *text) {
    uint8_t ip[16];
    if (inet_pton(AF_INET, text, ip) == 1)
        return addr_v4(ip);
    EXPECT(inet_pton(AF_INET6, text, ip) == 1);
    return addr_v6(ip);
}

int main(void) {
    alarm(60);
    static const struct reach all = {true, true}, usual = {true, false}, none = {false, true};
    static const char *const metadata[] = {
        "169.254.169.254",        "169.254.170.2",          "169.254.170.23",
        "fd00:ec2::254",          "fd00:ec2::23",           "fd20:ce::254",
        "::ffff:169.254.169.254", "64:ff9b::169.254.170.2", "64:ff9b::a9fe:a9fe",
    };
    static const char *const others[] = {
        "169.254.20.10", "169.254.169.253", "198.18.0.1", "127.0.0.1",        "0.0.0.0",
        "::1",           "fd00:ec2::253",   "fe80::1",    "64:ff9b::8.8.8.8", "fd00:198:18::1",
    };
    for (size_t i = 0; i < sizeof metadata / sizeof *metadata; i++) {
        struct addr a = of(metadata[i]);
        EXPECT(reach_allows(&all, &a) && !reach_allows(&usual, &a) && !reach_allows(&none, &a));
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct addr a = of(others[i]);
        EXPECT(reach_allows(&all, &a) && reach_allows(&usual, &a) && !reach_allows(&none, &a));
    }
    puts("metadata is metadata");
    return 0;
}
