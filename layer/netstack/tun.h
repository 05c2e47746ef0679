/* The tun device: packets in by batches, packets out at once, each behind a virtio header.
 *
 * tun0 is opened with TUN_F_CSUM and IFF_VNET_HDR: the kernel hands out TCP and UDP packets without a finished checksum, and
 * takes packets whose checksum is "still to be made" (VIRTIO_NET_HDR_F_NEEDS_CSUM) without looking at the data. Nothing is
 * lost between the kernel and this process, so nothing is summed. See Documentation/networking/tuntap.rst and virtio 1.2, 5.1.6. */
#pragma once

#include "native/fault.h"
#include "native/loop.h"

#include "lwip/pbuf.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define TUN_VNET   10 /* struct virtio_net_hdr */
#define TUN_PACKET 65535
#define TUN_SPARE  32 /* packet buffers kept for the next batch: 2 MiB */

struct tun;

/* One packet where it was read. Whoever is handed it gives it back (packet_free), or makes it a pbuf (packet_pbuf), which
 * gives it back when lwIP and the flow have let go of it. */
struct packet {
    struct pbuf_custom pbuf; /* first: lwIP hands this back */
    struct tun *tun;
    struct packet *next;
    size_t len;
    uint8_t vnet[TUN_VNET];
    uint8_t data[TUN_PACKET + 1] __attribute__((aligned(16)));
};

struct tun {
    struct loop *loop;
    struct loop_fd io;
    uint64_t last; /* ns; when packets came last */
    struct task again;
    void (*packet)(struct tun *t, struct packet *p); /* takes the packet */
    void (*failed)(struct tun *t, int err);          /* the device is gone; not read any more */
    struct packet *spare;
    unsigned spares;
    uint64_t packets_in, octets_in, packets_out, octets_out, lost;
};

int tun_open(struct tun *t, struct loop *l, int fd,
             struct fault *f); /* takes fd; `packet`, `failed` are set already */
void tun_close(struct tun *t);

void packet_free(struct packet *p);
/* The transport's `len` octets at `at` (inside p->data) as a pbuf. A small one is copied into a pbuf of its own size, so
 * that octets which wait cannot hold many times their number; `p` is taken in any case. NULL: no memory. */
struct pbuf *packet_pbuf(struct packet *p, uint8_t *at, size_t len, bool keeps);

/* A packet of several parts; iov[0] is left free for the virtio header. `start`: octets before the transport header,
 * `offset`: where in that its checksum field is, holding the pseudo header's sum; offset 0: the packet is finished. */
void tun_writev(struct tun *t, struct iovec *iov, int count, size_t start, size_t offset);
void tun_write(struct tun *t, void *packet, size_t n); /* a finished packet in one part */
