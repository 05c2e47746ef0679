/* See tun.h. */
#include "layer/netstack/tun.h"

#include <errno.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define BATCH 64 /* packets, then others on the loop get their turn */
/* A packet that comes so soon after others is one of many: the device is read until it is empty. One that comes alone is
 * all there is; to be told so by another read would delay it on its way. */
#define SOON (20 * 1000ull) /* ns */
/* Below, a packet that is kept is copied: what waits costs at most four times its octets. */
#define SMALL (16 * 1024)

_Static_assert(sizeof(struct virtio_net_hdr) == TUN_VNET, "the header without mergeable buffers");

static struct packet *packet_new(struct tun *t) {
    struct packet *p = t->spare;
    if (p) {
        t->spare = p->next;
        t->spares--;
    } else {
        p = malloc(sizeof *p);
        if (p)
            p->tun = t;
    }
    return p;
}

void packet_free(struct packet *p) {
    struct tun *t = p->tun;
    if (t->spares >= TUN_SPARE) {
        free(p);
        return;
    }
    p->next = t->spare;
    t->spare = p;
    t->spares++;
}

static void pbuf_done(struct pbuf *b) {
    packet_free((struct packet *)(void *)b);
}

struct pbuf *packet_pbuf(struct packet *p, uint8_t *at, size_t len, bool keeps) {
    if (keeps && len < SMALL) {
        struct pbuf *b = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
        if (b)
            memcpy(b->payload, at, len);
        packet_free(p);
        return b;
    }
    p->pbuf.custom_free_function = pbuf_done;
    return pbuf_alloced_custom(PBUF_RAW, (u16_t)len, PBUF_REF, &p->pbuf, at, (u16_t)len);
}

static void take(struct tun *t, int most) {
    for (int i = 0; i < most; i++) {
        struct packet *p = packet_new(t);
        if (!p) {
            t->lost++; /* the packet stays in the device's queue; what comes after it may find memory */
            return;
        }
        struct iovec iov[2] = {{p->vnet, sizeof p->vnet}, {p->data, TUN_PACKET}};
        ssize_t n = readv(t->io.fd, iov, 2);
        if (n <= TUN_VNET) {
            int err = errno;
            packet_free(p);
            if (n >= 0 || err == EINTR)
                continue;
            if (err != EAGAIN) {
                loop_del(t->loop, &t->io);
                t->failed(t, err);
            }
            return;
        }
        p->len = (size_t)n - TUN_VNET;
        t->packets_in++;
        t->octets_in += p->len;
        t->packet(t, p);
    }
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct tun *t = container_of(self, struct tun, io);
    uint64_t now = loop_now(t->loop);
    (void)events;
    bool soon = now - t->last < SOON;
    t->last = now;
    take(t, soon ? BATCH : 1);
}

int tun_open(struct tun *t, struct loop *l, int fd, struct fault *f) {
    t->loop = l;
    t->io = (struct loop_fd){.fd = fd, .ready = ready};
    return loop_add(l, &t->io, EPOLLIN, f);
}

void tun_close(struct tun *t) {
    loop_del(t->loop, &t->io);
    close(t->io.fd);
    while (t->spare) {
        struct packet *p = t->spare;
        t->spare = p->next;
        free(p);
    }
}

void tun_writev(struct tun *t, struct iovec *iov, int count, size_t start, size_t offset) {
    struct virtio_net_hdr head = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};
    if (offset) {
        head.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        head.csum_start = (uint16_t)start;
        head.csum_offset = (uint16_t)offset;
    }
    iov[0] = (struct iovec){&head, sizeof head};
    ssize_t n = writev(t->io.fd, iov, count);
    iov[0] = (struct iovec){NULL, 0};
    if (n < 0) {
        t->lost++; /* as a cable loses it: TCP sends it again */
        return;
    }
    t->packets_out++;
    t->octets_out += (size_t)n - sizeof head;
}

void tun_write(struct tun *t, void *packet, size_t n) {
    struct iovec iov[2] = {{NULL, 0}, {packet, n}};
    tun_writev(t, iov, 2, 0, 0);
}
