/* The ports that are mirrored, said as a classic BPF program (Documentation/networking/filter.rst) for a cooked packet socket.
 *
 * The kernel runs it on every packet of the target's network namespace, in the target's own path, so it decides as much as
 * it can: what comes in to one of the ports whole; what one of them answers only FILTER_HEAD octets, because of an answer
 * only the header and a status line matter, and copying the rest would be time taken from the target; nothing else.
 *
 * On an interface of the target's "in" is PACKET_HOST and "out" PACKET_OUTGOING. A loopback interface shows each packet
 * twice, first as outgoing; only the incoming copy counts, for both directions. Packets for others (OTHERHOST, broadcast,
 * multicast) are nobody's connection. */
#pragma once

#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

struct mirror_port {
    uint8_t proto; /* IPPROTO_TCP or IPPROTO_UDP */
    uint16_t target_port, app_port;
};

#define FILTER_HEAD  256 /* IP and TCP headers are at most 120; the rest is for the status line */
#define FILTER_WHOLE 524288 /* above any packet, BIG TCP included */
#define FILTER_PORTS 256    /* at most */
#define FILTER_MOST  (64 + 6 * FILTER_PORTS)

/* Writes the program; its length in instructions. n <= FILTER_PORTS; with n == 0 it takes nothing. */
size_t filter_program(const struct mirror_port *ports, size_t n,
                      struct sock_filter out[FILTER_MOST]);
