#include "agent/filter.h"

#include "native/fault.h"

#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdbool.h>

/* Which of a packet's ports is looked at, kept in the program's scratch word 0. */
enum { IN = 1, OUT = 2 };

/* Conditional jumps of classic BPF reach 255 instructions; with many ports that is too near. So every test is followed by
 * an unconditional jump, which reaches anything, and labels are filled in at the end. */
enum label { DROP, WHOLE, HEAD, TAKEN, SIDE, V4, V6, TCP4, UDP4, TCP, UDP, TCP_OUT, LABELS };

struct program {
    struct sock_filter *code;
    size_t n;
    size_t at[LABELS];
};

static void emit(struct program *p, uint16_t code, uint32_t k) {
    CHECK(p->n < FILTER_MOST);
    p->code[p->n++] = (struct sock_filter){.code = code, .k = k};
}

static void label(struct program *p, enum label l) {
    p->at[l] = p->n;
}

static void go(struct program *p, enum label l) {
    emit(p, BPF_JMP | BPF_JA, l);
}

/* If A (compared as `how`) k: go to l; otherwise fall through. */
static void when(struct program *p, uint16_t how, uint32_t k, enum label l) {
    emit(p, BPF_JMP | BPF_K | how, k);
    p->code[p->n - 1].jf = 1;
    go(p, l);
}

static void unless(struct program *p, uint16_t how, uint32_t k, enum label l) {
    emit(p, BPF_JMP | BPF_K | how, k);
    p->code[p->n - 1].jt = 1;
    go(p, l);
}

static void about(struct program *p, uint32_t what) {
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + what);
}

static void resolve(struct program *p) {
    for (size_t i = 0; i < p->n; i++)
        if (p->code[i].code == (BPF_JMP | BPF_JA))
            p->code[i].k = (uint32_t)(p->at[p->code[i].k] - i - 1);
}

static void which_side(struct program *p) {
    about(p, SKF_AD_HATYPE);
    emit(p, BPF_MISC | BPF_TAX, 0);
    about(p, SKF_AD_PKTTYPE);
    unless(p, BPF_JEQ, PACKET_HOST, SIDE);
    emit(p, BPF_MISC | BPF_TXA, 0);
    emit(p, BPF_JMP | BPF_JEQ | BPF_K, ARPHRD_LOOPBACK);
    p->code[p->n - 1].jf = 2;
    emit(p, BPF_LD | BPF_IMM, IN | OUT);
    go(p, TAKEN);
    emit(p, BPF_LD | BPF_IMM, IN);
    go(p, TAKEN);
    label(p, SIDE);
    unless(p, BPF_JEQ, PACKET_OUTGOING, DROP);
    emit(p, BPF_MISC | BPF_TXA, 0);
    when(p, BPF_JEQ, ARPHRD_LOOPBACK, DROP);
    emit(p, BPF_LD | BPF_IMM, OUT);
    label(p, TAKEN);
    emit(p, BPF_ST, 0);
}

/* X becomes the transport header's place. IPv6 packets with extension headers are left to user space, whole. */
static void which_transport(struct program *p) {
    about(p, SKF_AD_PROTOCOL);
    when(p, BPF_JEQ, ETH_P_IPV6, V6);
    unless(p, BPF_JEQ, ETH_P_IP, DROP);
    emit(p, BPF_LDX | BPF_B | BPF_MSH, 0);
    emit(p, BPF_LD | BPF_B | BPF_ABS, 9);
    when(p, BPF_JEQ, IPPROTO_TCP, TCP4);
    when(p, BPF_JEQ, IPPROTO_UDP, UDP4);
    go(p, DROP);
    label(p, V6);
    emit(p, BPF_LDX | BPF_IMM, 40);
    emit(p, BPF_LD | BPF_B | BPF_ABS, 6);
    when(p, BPF_JEQ, IPPROTO_TCP, TCP);
    when(p, BPF_JEQ, IPPROTO_UDP, UDP);
    when(p, BPF_JEQ, IPPROTO_HOPOPTS, WHOLE);
    when(p, BPF_JEQ, IPPROTO_ROUTING, WHOLE);
    when(p, BPF_JEQ, IPPROTO_FRAGMENT, WHOLE);
    when(p, BPF_JEQ, IPPROTO_DSTOPTS, WHOLE);
    go(p, DROP);
    label(p, TCP4); /* later fragments have no ports; TCP is not fragmented in our world */
    emit(p, BPF_LD | BPF_H | BPF_ABS, 6);
    when(p, BPF_JSET, 0x1fff, DROP);
    go(p, TCP);
    label(p, UDP4); /* but of a large datagram the later ones are wanted too */
    emit(p, BPF_LD | BPF_H | BPF_ABS, 6);
    when(p, BPF_JSET, 0x1fff, WHOLE);
    go(p, UDP);
}

static bool any(const struct mirror_port *ports, size_t n, uint8_t proto) {
    for (size_t i = 0; i < n; i++)
        if (ports[i].proto == proto)
            return true;
    return false;
}

/* Goes to `l` if the 16 bits at X + offset are one of the ports, and if this side is looked at at all. */
static void match(struct program *p, const struct mirror_port *ports, size_t n, uint8_t proto,
                  uint32_t offset, enum label l) {
    if (!any(ports, n, proto))
        return;
    emit(p, BPF_LD | BPF_H | BPF_IND, offset);
    for (size_t i = 0; i < n; i++)
        if (ports[i].proto == proto)
            when(p, BPF_JEQ, ports[i].target_port, l);
}

size_t filter_program(const struct mirror_port *ports, size_t n,
                      struct sock_filter out[FILTER_MOST]) {
    CHECK(n <= FILTER_PORTS);
    struct program p = {.code = out};
    if (n > 0) {
        which_side(&p);
        which_transport(&p);
        label(&p, TCP);
        emit(&p, BPF_LD | BPF_MEM, 0);
        unless(&p, BPF_JSET, IN, TCP_OUT);
        match(&p, ports, n, IPPROTO_TCP, 2, WHOLE);
        label(&p, TCP_OUT);
        emit(&p, BPF_LD | BPF_MEM, 0);
        unless(&p, BPF_JSET, OUT, DROP);
        match(&p, ports, n, IPPROTO_TCP, 0, HEAD);
        go(&p, DROP);
        label(&p, UDP);
        emit(&p, BPF_LD | BPF_MEM, 0);
        unless(&p, BPF_JSET, IN, DROP);
        match(&p, ports, n, IPPROTO_UDP, 2, WHOLE);
    }
    label(&p, DROP);
    emit(&p, BPF_RET | BPF_K, 0);
    label(&p, WHOLE);
    emit(&p, BPF_RET | BPF_K, FILTER_WHOLE);
    label(&p, HEAD);
    emit(&p, BPF_RET | BPF_K, FILTER_HEAD);
    resolve(&p);
    return p.n;
}
