/* An address and a port of either family, comparable with memcmp: unused octets are zero. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
    uint8_t family; /* 4, 6, or 0: none */
    uint8_t pad[3];
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

struct endpoint {
    struct addr addr;
    uint16_t port; /* host order */
    uint16_t pad;
};

_Static_assert(sizeof(struct endpoint) == 24, "endpoints are compared and hashed as memory");

struct addr addr_v4(const void *ip4);
struct addr addr_v6(const void *ip16); /* IPv4-mapped addresses become IPv4 */
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
uint32_t endpoint_hash(const struct endpoint *e, uint32_t seed);
uint32_t endpoint_pair_hash(const struct endpoint *a, const struct endpoint *b, uint32_t seed);
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *sa);
/* False: of neither family. */
bool endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *e);
/* "198.18.0.2:80" or "[fd00::2]:80"; `text` holds at least ENDPOINT_TEXT octets. Returns `text`. */
#define ENDPOINT_TEXT 56
const char *endpoint_text(const struct endpoint *e, char *text);
