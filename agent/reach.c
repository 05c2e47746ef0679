/* See reach.h. The addresses are those that clouds document; link-local ones besides them stay allowed, for name servers on the
 * node live there too. By a translator of addresses (RFC 6052) an IPv4 one can be reached as IPv6. */
#include "agent/reach.h"

#include <string.h>

static const uint8_t metadata_v4[][4] = {
    {169, 254, 169, 254}, /* Amazon, Azure, Google and others: the instance's */
    {169, 254, 170, 2},   /* Amazon: a task's credentials */
    {169, 254, 170, 23},  /* Amazon: a pod identity's */
};

static const uint8_t metadata_v6[][16] = {
    {0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54}, /* Amazon: fd00:ec2::254 */
    {0xfd, 0x00, 0x0e, 0xc2, [15] = 0x23},              /* fd00:ec2::23 */
    {0xfd, 0x20, 0x00, 0xce, [14] = 0x02, [15] = 0x54}, /* Google: fd20:ce::254 */
};

static const uint8_t translated[12] = {0x00, 0x64, 0xff, 0x9b}; /* 64:ff9b::/96 */

static bool is_metadata_v4(const uint8_t ip[4]) {
    for (size_t i = 0; i < sizeof metadata_v4 / sizeof *metadata_v4; i++)
        if (memcmp(ip, metadata_v4[i], 4) == 0)
            return true;
    return false;
}

static bool is_metadata(const struct addr *to) {
    if (to->family == 4)
        return is_metadata_v4(to->ip);
    for (size_t i = 0; i < sizeof metadata_v6 / sizeof *metadata_v6; i++)
        if (memcmp(to->ip, metadata_v6[i], 16) == 0)
            return true;
    return memcmp(to->ip, translated, sizeof translated) == 0 && is_metadata_v4(to->ip + 12);
}

bool reach_allows(const struct reach *r, const struct addr *to) {
    return r->outgoing && (r->metadata || !is_metadata(to));
}
