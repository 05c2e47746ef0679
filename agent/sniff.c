#include "agent/sniff.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct sniff {
    struct loop *loop;
    struct loop_fd handle;
    const struct sniff_ops *ops;
    void *owner;
    uint8_t *ring; /* NULL: closed */
    unsigned turn; /* the block the kernel hands over next */
    uint64_t lost;
};

static struct tpacket_block_desc *block(const struct sniff *s) {
    return (struct tpacket_block_desc *)(void *)(s->ring + (size_t)s->turn * SNIFF_BLOCK);
}

/* What was cut off behind the filter's length is also taken out of the header's, so that views see a whole packet. A
 * length of 0 (BIG TCP) means the buffer's already. The block is ours to write on until it is given back. */
static void shorten(uint8_t *ip, size_t n) {
    size_t at = n >= 20 && ip[0] >> 4 == 4 ? 2 : n >= 40 && ip[0] >> 4 == 6 ? 4 : 0;
    if (at == 0 || (ip[at] | ip[at + 1]) == 0)
        return;
    size_t len = at == 2 ? n : n - 40;
    ip[at] = (uint8_t)(len >> 8);
    ip[at + 1] = (uint8_t)len;
}

static void hand_out(struct sniff *s, struct tpacket3_hdr *h) {
    const struct sockaddr_ll *ll = (const void *)((uint8_t *)h + TPACKET_ALIGN(sizeof *h));
    if (ll->sll_pkttype != PACKET_HOST && ll->sll_pkttype != PACKET_OUTGOING)
        return;
    struct sniff_packet p = {
        .ip = (uint8_t *)h + h->tp_net,
        .len = h->tp_snaplen,
        .cut = h->tp_len - h->tp_snaplen,
        .ifindex = ll->sll_ifindex,
        .incoming = ll->sll_pkttype == PACKET_HOST,
        .loopback = ll->sll_hatype == ARPHRD_LOOPBACK,
        .unchecked = !(h->tp_status & (TP_STATUS_CSUM_VALID | TP_STATUS_CSUMNOTREADY)),
    };
    if (p.cut > 0)
        shorten((uint8_t *)h + h->tp_net, p.len);
    s->ops->packet(s->owner, &p);
}

static void count_lost(struct sniff *s) {
    struct tpacket_stats_v3 stats;
    socklen_t size = sizeof stats;
    if (getsockopt(s->handle.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0)
        s->lost += stats.tp_drops; /* reading sets the kernel's count to zero */
}

static void walk(struct sniff *s, struct tpacket_block_desc *b) {
    uint8_t *at = (uint8_t *)b + b->hdr.bh1.offset_to_first_pkt;
    for (uint32_t i = 0; i < b->hdr.bh1.num_pkts; i++) {
        struct tpacket3_hdr *h = (struct tpacket3_hdr *)(void *)at;
        hand_out(s, h);
        at += h->tp_next_offset;
    }
}

static void ready(struct loop_fd *handle, uint32_t events) {
    struct sniff *s = container_of(handle, struct sniff, handle);
    if (events &
        EPOLLERR) { /* an interface went down (ENETDOWN): said once, of no consequence, but it must be taken */
        int err;
        socklen_t size = sizeof err;
        getsockopt(handle->fd, SOL_SOCKET, SO_ERROR, &err, &size);
    }
    for (int i = 0; i < SNIFF_BATCH; i++) {
        struct tpacket_block_desc *b = block(s);
        uint32_t status = __atomic_load_n(&b->hdr.bh1.block_status, __ATOMIC_ACQUIRE);
        if (!(status & TP_STATUS_USER))
            break;
        if (status & TP_STATUS_LOSING)
            count_lost(s);
        walk(s, b);
        __atomic_store_n(&b->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        s->turn = (s->turn + 1) % SNIFF_BLOCKS;
    }
    s->ops->batch(s->owner);
}

struct sniff *sniff_new(struct loop *l, int fd, const struct sniff_ops *ops, void *owner,
                        struct fault *f) {
    struct sniff *s = calloc(1, sizeof *s);
    int version = TPACKET_V3;
    if (!s) {
        fault_set(f, ENOMEM, "make a sniffer");
    } else if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) < 0) {
        fault_set(f, errno, "ask the packet socket for TPACKET_V3");
    } else {
        s->loop = l;
        s->ops = ops;
        s->owner = owner;
        s->handle = (struct loop_fd){.fd = fd, .ready = ready};
        return s;
    }
    free(s);
    close(fd);
    return NULL;
}

void sniff_free(struct sniff *s) {
    sniff_close(s);
    close(s->handle.fd);
    free(s);
}

static int attach(struct sniff *s, const struct sock_filter *code, size_t n, struct fault *f) {
    /* The kernel only reads it. */
    struct sock_fprog program = {.len = (unsigned short)n,
                                 .filter = (struct sock_filter *)(uintptr_t)code};
    if (setsockopt(s->handle.fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) < 0)
        return fault_set(f, errno, "attach the filter to the packet socket");
    return 0;
}

static int bind_to(struct sniff *s, uint16_t protocol, struct fault *f) {
    struct sockaddr_ll all = {.sll_family = AF_PACKET, .sll_protocol = htons(protocol)};
    if (bind(s->handle.fd, (struct sockaddr *)&all, sizeof all) < 0)
        return fault_set(f, errno, "bind the packet socket");
    return 0;
}

static int make_ring(struct sniff *s, struct fault *f) {
    struct tpacket_req3 want = {
        .tp_block_size = SNIFF_BLOCK,
        .tp_block_nr = SNIFF_BLOCKS,
        .tp_frame_size = 2048, /* of no meaning to version 3, but checked */
        .tp_frame_nr = SNIFF_BLOCK / 2048 * SNIFF_BLOCKS,
        .tp_retire_blk_tov = SNIFF_RETIRE,
    };
    if (setsockopt(s->handle.fd, SOL_PACKET, PACKET_RX_RING, &want, sizeof want) < 0)
        return fault_set(f, errno, "make the packet ring");
    void *p = mmap(NULL, (size_t)SNIFF_BLOCK * SNIFF_BLOCKS, PROT_READ | PROT_WRITE, MAP_SHARED,
                   s->handle.fd, 0);
    if (p == MAP_FAILED)
        return fault_set(f, errno, "map the packet ring");
    s->ring = p;
    s->turn = 0;
    return 0;
}

int sniff_open(struct sniff *s, const struct sock_filter *code, size_t n, struct fault *f) {
    if (s->ring)
        return attach(s, code, n, f);
    /* The filter first, protocol 0 until the end: a packet it does not want is never even looked at. */
    if (attach(s, code, n, f) == 0 && make_ring(s, f) == 0 &&
        loop_add(s->loop, &s->handle, EPOLLIN, f) == 0) {
        if (bind_to(s, ETH_P_ALL, f) == 0)
            return 0;
        loop_del(s->loop, &s->handle);
    }
    struct tpacket_req3 none = {0};
    if (s->ring)
        munmap(s->ring, (size_t)SNIFF_BLOCK * SNIFF_BLOCKS);
    s->ring = NULL;
    setsockopt(s->handle.fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof none);
    return -1;
}

void sniff_close(struct sniff *s) {
    if (!s->ring)
        return;
    /* A kernel may take protocol 0 for "as it was": then a filter that takes nothing is what remains of us. */
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    CHECK(attach(s, &nothing, 1, NULL) == 0);
    bind_to(s, 0, NULL);
    count_lost(s);
    loop_del(s->loop, &s->handle);
    munmap(s->ring, (size_t)SNIFF_BLOCK * SNIFF_BLOCKS);
    s->ring = NULL;
    struct tpacket_req3 none = {0};
    CHECK(setsockopt(s->handle.fd, SOL_PACKET, PACKET_RX_RING, &none, sizeof none) == 0);
}

uint64_t sniff_lost(struct sniff *s) {
    if (s->ring)
        count_lost(s);
    return s->lost;
}
