/* Packets of a network namespace, copied by the kernel into a ring that both share (TPACKET_V3, packet(7) and
 * Documentation/networking/packet_mmap.rst), handed out one by one. Knows nothing about what is in them but their length.
 *
 * Nobody waits for this ring: when it is full, packets are lost to us (counted) and go their way. So its size is how long
 * the agent may be late: SNIFF_BLOCKS * SNIFF_BLOCK is 90 ms of 1 Gbit/s in frames of 64 KiB, which fill a block to nine
 * tenths (a block of 256 KiB to three quarters); and as a block is handed over at the latest after SNIFF_RETIRE, however
 * little is in it, 190 ms of anything. A BIG TCP frame larger than a block is cut, and ends what it belonged to.
 *
 * While no port is wanted there is no ring: its memory counts as the agent's. */
#pragma once

#include "native/fault.h"
#include "native/loop.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNIFF_BLOCK  (512 * 1024)
#define SNIFF_BLOCKS 24
#define SNIFF_RETIRE 8 /* ms */
#define SNIFF_BATCH  2 /* blocks handled before the rest of the loop has its turn */

struct sniff_packet {
    const uint8_t *ip; /* the IP header; borrowed until the callback returns */
    size_t len;        /* octets there; the header's own length says the same */
    size_t cut;        /* octets the filter left out behind them */
    int ifindex;
    bool incoming;  /* PACKET_HOST; otherwise PACKET_OUTGOING */
    bool loopback;  /* the interface's type */
    bool unchecked; /* nobody has verified the transport's checksum yet */
};

/* Inside these callbacks the sniffer must be neither closed nor freed: they read the ring. */
struct sniff_ops {
    void (*packet)(void *owner, const struct sniff_packet *p);
    void (*batch)(void *owner); /* after some packets, before other events */
};

struct sniff;

/* Takes `fd`: AF_PACKET, SOCK_DGRAM, protocol 0, born in the namespace to watch; closed by sniff_free, also on failure. */
struct sniff *sniff_new(struct loop *l, int fd, const struct sniff_ops *ops, void *owner,
                        struct fault *f);
void sniff_free(struct sniff *s);

/* From now on what `code` takes; nothing else has ever been in the ring if it was not open before. 0, or -1 and closed. */
int sniff_open(struct sniff *s, const struct sock_filter *code, size_t n, struct fault *f);
void sniff_close(struct sniff *s); /* gives the ring's memory back */
uint64_t sniff_lost(struct sniff *s);
