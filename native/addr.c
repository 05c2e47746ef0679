/* Addresses and endpoints as plain memory: made, compared, hashed, and turned to and from sockaddrs and text. */
#include "addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

struct addr addr_v4(const void *ip4) {
    struct addr a = {.family = 4};
    memcpy(a.ip, ip4, 4);
    return a;
}

struct addr addr_v6(const void *ip16) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (memcmp(ip16, mapped, sizeof mapped) == 0)
        return addr_v4((const uint8_t *)ip16 + sizeof mapped);
    struct addr a = {.family = 6};
    memcpy(a.ip, ip16, 16);
    return a;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

/* The finaliser of splitmix64 (Steele et al., 2014): every bit of the input reaches every bit of the result, so that
 * neighbouring ports and addresses spread over a table whose size is a power of two. */
static uint64_t mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint32_t endpoint_hash(const struct endpoint *e, uint32_t seed) {
    uint64_t words[3];
    memcpy(words, e, sizeof words);
    uint64_t h = seed;
    for (int i = 0; i < 3; i++)
        h = mix(h + 0x9e3779b97f4a7c15u + words[i]);
    return (uint32_t)h;
}

uint32_t endpoint_pair_hash(const struct endpoint *a, const struct endpoint *b, uint32_t seed) {
    return endpoint_hash(b, endpoint_hash(a, seed));
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *sa) {
    memset(sa, 0, sizeof *sa);
    if (e->addr.family == 4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(e->port)};
        memcpy(&in.sin_addr, e->addr.ip, 4);
        memcpy(sa, &in, sizeof in);
        return sizeof in;
    }
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(e->port)};
    memcpy(&in6.sin6_addr, e->addr.ip, 16); /* without a family: ::, which no caller connects to */
    memcpy(sa, &in6, sizeof in6);
    return sizeof in6;
}

bool endpoint_from_sockaddr(const struct sockaddr *sa, struct endpoint *e) {
    struct endpoint found = {.port = 0};
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        found.addr = addr_v4(&in.sin_addr);
        found.port = ntohs(in.sin_port);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        found.addr = addr_v6(&in6.sin6_addr);
        found.port = ntohs(in6.sin6_port);
    } else {
        return false;
    }
    *e = found;
    return true;
}

const char *endpoint_text(const struct endpoint *e, char *text) {
    char ip[INET6_ADDRSTRLEN];
    switch (e->addr.family) {
    case 4:
        inet_ntop(AF_INET, e->addr.ip, ip, sizeof ip);
        snprintf(text, ENDPOINT_TEXT, "%s:%u", ip, e->port);
        break;
    case 6:
        inet_ntop(AF_INET6, e->addr.ip, ip, sizeof ip);
        snprintf(text, ENDPOINT_TEXT, "[%s]:%u", ip, e->port);
        break;
    default:
        snprintf(text, ENDPOINT_TEXT, "-:%u", e->port);
    }
    return text;
}
