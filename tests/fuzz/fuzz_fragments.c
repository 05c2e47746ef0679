/* Invariant: a datagram put together has exactly the octets that its fragments had at their places, whatever else was said;
 * nothing is read or written outside of them.
 *
 * Input: records of (id, offset, flags, length); octet k of datagram i is a function of both, unless the record forges it.
 * Sources: native/fragments.c native/fault.c */
#include "native/fragments.h"
#include "native/fault.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t octet(uint32_t id, size_t at) {
    return (uint8_t)(at * 31 + id);
}

static void check(const struct ip_view *whole, uint32_t id, bool forged) {
    CHECK(!whole->fragment && whole->payload_len > 0 && whole->payload_len < 65536);
    for (size_t i = 0; i < whole->payload_len; i++)
        CHECK(forged || whole->payload[i] == octet(id, i));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct fragments *f = fragments_new();
    bool forged[256] = {false};
    uint64_t now = 0;
    for (const uint8_t *p = data; p + 4 <= data + size; p += 4) {
        size_t n = (size_t)p[3] * (p[2] & 8 ? 32 : 1);
        size_t offset = (size_t)p[1] * (p[2] & 16 ? 256 : 8);
        uint8_t *exact = malloc(n ? n : 1);
        for (size_t i = 0; i < n; i++)
            exact[i] = (uint8_t)(octet(p[0], offset + i) + ((p[2] & 2) != 0));
        forged[p[0]] |= p[2] & 2;
        struct ip_view ip = {.version = 4, .proto = 17, .fragment = true, .more = p[2] & 1};
        struct ip_view whole;
        ip.frag_id = p[0];
        ip.frag_offset = (uint32_t)offset;
        ip.payload = exact;
        ip.payload_len = n;
        now += p[2] & 4 ? FRAGMENTS_TIME : 1000;
        if (fragments_add(f, &ip, now, &whole))
            check(&whole, p[0], forged[p[0]]);
        free(exact);
    }
    fragments_free(f);
    return 0;
}
