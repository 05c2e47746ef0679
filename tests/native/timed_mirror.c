/* The mirror's memory by the clock: what is forgotten when, who is asked before that, and what keeps it. Packets and verdicts are
 * the test's, in the place of the ring (sniff.c) and of sock_diag (verdict.c). */
#include "agent/mirror_conn.h"

#include "far.h"
#include "still_loop.h"

#include <netinet/in.h>
#include <unistd.h>

/* --- the kernel's part -------------------------------------------------------------------------------------------- */

struct sniff {
    const struct sniff_ops *ops;
    void *owner;
};

struct verdict {
    int fd;
    bool is_own, is_alive;
    int asked; /* whether one is alive */
};

static struct sniff ring;
static struct verdict verdict;

struct sniff *sniff_new(struct loop *l, int fd, const struct sniff_ops *ops, void *owner,
                        struct fault *f) {
    (void)l, (void)f;
    close(fd);
    ring = (struct sniff){ops, owner};
    return &ring;
}

void sniff_free(struct sniff *s) {
    (void)s;
}

int sniff_open(struct sniff *s, const struct sock_filter *code, size_t n, struct fault *f) {
    (void)s, (void)code, (void)n, (void)f;
    return 0;
}

void sniff_close(struct sniff *s) {
    (void)s;
}

uint64_t sniff_lost(struct sniff *s) {
    (void)s;
    return 0;
}

struct verdict *verdict_new(int diag_fd) {
    verdict = (struct verdict){.fd = diag_fd, .is_own = true, .is_alive = true};
    return &verdict;
}

void verdict_free(struct verdict *v) {
    close(v->fd);
}

void verdict_conntrack(struct verdict *v, int fd) {
    (void)v;
    close(fd);
}

bool verdict_is_own(struct verdict *v, const struct endpoint *own, const struct endpoint *client,
                    const struct endpoint *origin, int ifindex, bool loopback) {
    (void)own, (void)client, (void)origin, (void)ifindex, (void)loopback;
    return v->is_own;
}

bool verdict_origin(struct verdict *v, const struct endpoint *own, const struct endpoint *client,
                    struct endpoint *origin) {
    (void)v, (void)own, (void)client, (void)origin;
    return false;
}

bool verdict_is_alive(struct verdict *v, const struct endpoint *own,
                      const struct endpoint *client) {
    (void)own, (void)client;
    v->asked++;
    return v->is_alive;
}

/* --- the place ---------------------------------------------------------------------------------------------------- */

#define PORT 80

static struct loop *loop;
static struct mux *mux;
static struct mirror *mirror;
static struct far far;

static void on_gone(void *owner, const struct fault *why) {
    (void)owner;
    fprintf(stderr, "%s\n", why->text);
    exit(1);
}

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    (void)owner, (void)o;
    *err = EPROTONOSUPPORT;
    return NULL;
}

static const struct mux_ops link_ops = {.open = on_open, .gone = on_gone};

static bool owns_none(void *ctx, const struct endpoint *e) {
    (void)ctx, (void)e;
    return false;
}

static void make(void) {
    struct mirror_port ports[] = {{IPPROTO_TCP, PORT, PORT}, {IPPROTO_UDP, PORT, PORT}};
    loop = loop_new(NULL);
    mux = mux_new(loop, far_make(&far), false, &link_ops, NULL, NULL);
    mirror = mirror_new(loop, mux, 0, dup(far.fd), dup(far.fd), owns_none, NULL, NULL);
    mirror_ports(mirror, ports, 2);
}

static void pass(uint64_t seconds) {
    still_pass(loop, seconds * STILL_SECOND);
    far_hear(&far);
}

static void unmake(void) {
    mirror_free(mirror);
    mux_free(mux);
    EXPECT(still_timers(loop) == 0);
    loop_free(loop);
    close(far.fd);
}

static size_t conns(void) {
    return mirror->tcp->conns;
}

static const struct endpoint *own(void) {
    static struct endpoint e;
    e = (struct endpoint){.addr = addr_v4((uint8_t[]){198, 18, 0, 2}), .port = PORT};
    return &e;
}

static struct endpoint client(uint16_t port) {
    return (struct endpoint){.addr = addr_v4((uint8_t[]){198, 18, 0, 9}), .port = port};
}

static void show(const uint8_t *packet, size_t n, bool incoming) {
    struct sniff_packet p = {.ip = packet, .len = n, .ifindex = 2, .incoming = incoming};
    ring.ops->packet(ring.owner, &p);
    ring.ops->batch(ring.owner);
    pass(0);
}

static void segment(uint16_t port, bool incoming, uint8_t flags, uint32_t seq, uint32_t ack,
                    const char *text) {
    uint8_t packet[200];
    struct endpoint who = client(port);
    const struct endpoint *from = incoming ? &who : own(), *to = incoming ? own() : &who;
    size_t n = view_write_ip(packet, &from->addr, &to->addr, IPPROTO_TCP, 20 + strlen(text));
    uint8_t *tcp = packet + n;
    memset(tcp, 0, 20);
    memcpy(tcp, (uint16_t[]){htons(from->port), htons(to->port)}, 4);
    memcpy(tcp + 4, (uint32_t[]){htonl(seq), htonl(ack)}, 8);
    tcp[12] = 0x50;
    tcp[13] = flags;
    tcp[14] = 0xff;
    memcpy(tcp + 20, text, strlen(text));
    show(packet, n + 20 + strlen(text), incoming);
}

static void syn(uint16_t port) {
    segment(port, true, TCP_FLAG_SYN, 100, 0, "");
}

static void syn_ack(uint16_t port) {
    segment(port, false, TCP_FLAG_SYN | TCP_FLAG_ACK, 500, 101, "");
}

static void shake_hands(uint16_t port) {
    syn(port);
    syn_ack(port);
    segment(port, true, TCP_FLAG_ACK, 101, 501, "");
}

static void datagram(uint16_t port) {
    uint8_t packet[200];
    struct endpoint who = client(port);
    show(packet, view_write_udp(packet, &who, own(), "?", 1), true);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void half_open_ones_have_30_s(void) {
    make();
    syn(1000);
    pass(30);
    EXPECT(conns() == 1);
    pass(1);
    EXPECT(conns() == 0 && far.opens == 0 && verdict.asked == 0);
    EXPECT(still_timers(loop) == 0);
    unmake();
}

/* Its SYN-ACKs come again and again; that is no reason to keep it, nor those that came after it. */
static void what_comes_again_keeps_no_half_open_one(void) {
    make();
    syn(1000);
    syn(2000);
    for (int i = 0; i < 30; i++) {
        pass(1);
        syn_ack(1000);
    }
    pass(1);
    EXPECT(conns() == 0);
    unmake();
}

/* Followed: the target is asked after five minutes without a packet, and again after five more, as long as it says yes. */
static void an_idle_connection_is_looked_up_after_5_min(void) {
    make();
    shake_hands(1000);
    EXPECT(far.opens == 1);
    pass(300);
    EXPECT(verdict.asked == 0);
    pass(1);
    EXPECT(verdict.asked == 1 && conns() == 1);
    pass(300);
    EXPECT(verdict.asked == 1);
    verdict.is_alive = false;
    pass(1);
    EXPECT(verdict.asked == 2 && conns() == 0 && far.resets == 1);
    EXPECT(far.last[FRAME_RESET].err == ECONNRESET && still_timers(loop) == 0);
    unmake();
}

static void packets_of_either_side_put_it_off(void) {
    make();
    shake_hands(1000);
    pass(299);
    segment(1000, true, TCP_FLAG_ACK, 101, 501, "");
    pass(299);
    segment(1000, false, TCP_FLAG_ACK, 501, 101, "");
    pass(300);
    EXPECT(verdict.asked == 0 && conns() == 1);
    pass(1);
    EXPECT(verdict.asked == 1);
    unmake();
}

static void those_not_shown_are_forgotten_alike(void) {
    make();
    verdict.is_own = false;
    shake_hands(1000);                                        /* redirected: never to be shown */
    segment(2000, true, TCP_FLAG_ACK, 7, 7, "the middle of"); /* older than the session */
    EXPECT(conns() == 2 && far.opens == 0);
    pass(301);
    EXPECT(conns() == 2 && verdict.asked == 2);
    verdict.is_alive = false;
    pass(301);
    EXPECT(conns() == 0 && verdict.asked == 4);
    unmake();
}

/* Many at once are asked about over some seconds, 128 in each, so that packets do not wait for the answers. */
static void not_all_are_looked_up_at_once(void) {
    make();
    for (uint16_t i = 0; i < 300; i++)
        shake_hands((uint16_t)(1000 + i));
    verdict.is_alive = false;
    static const size_t left[] = {300 - 128, 300 - 256, 0};
    pass(300);
    EXPECT(conns() == 300);
    for (int i = 0; i < 3; i++) {
        pass(1);
        EXPECT(conns() == left[i]);
    }
    unmake();
}

/* Client and target have ended it; the app, which has not, gets ten minutes. */
static void an_app_that_never_ends_has_10_min(void) {
    make();
    shake_hands(1000);
    far_number(&far, FRAME_OPENED, far.opened[0], 1000);
    segment(1000, true, TCP_FLAG_FIN | TCP_FLAG_ACK, 101, 501, "");
    segment(1000, false, TCP_FLAG_FIN | TCP_FLAG_ACK, 501, 102, "");
    EXPECT(far.eofs == 1 && conns() == 1);
    pass(600);
    EXPECT(conns() == 1 && far.resets == 0);
    pass(1);
    EXPECT(conns() == 0 && far.resets == 1 && verdict.asked == 0);
    unmake();
}

/* --- datagrams ---------------------------------------------------------------------------------------------------- */

static void a_silent_client_is_gone_after_60_s(void) {
    make();
    datagram(1000);
    EXPECT(far.opens == 1 && far.datagrams == 1);
    pass(59);
    datagram(1000);
    pass(60);
    EXPECT(far.opens == 1 && far.datagrams == 2 && far.resets == 0);
    pass(1);
    EXPECT(far.resets == 1 && far.last[FRAME_RESET].err == ETIMEDOUT && mux_channels(mux) == 0);
    EXPECT(still_timers(loop) == 0);
    datagram(1000);
    EXPECT(far.opens == 2);
    unmake();
}

static void the_client_longest_silent_makes_room(void) {
    make();
    for (uint16_t i = 0; i < 1024; i++)
        datagram((uint16_t)(1000 + i));
    datagram(1000);
    EXPECT(far.opens == 1024 && far.resets == 0);
    datagram(50000);
    EXPECT(far.opens == 1025 && far.resets == 1 && mux_channels(mux) == 1024);
    EXPECT(far.last[FRAME_RESET].channel == far.opened[1]);
    unmake();
}

/* --- the session's rate ---------------------------------------------------------------------------------------------- */

/* A hundred octets of a client's, which the target acknowledges. */
static void say_something(uint16_t port, uint32_t *seq) {
    char text[101];
    memset(text, 'x', 100);
    text[100] = 0;
    segment(port, true, TCP_FLAG_ACK, *seq, 501, text);
    *seq += 100;
    segment(port, false, TCP_FLAG_ACK, 501, *seq, "");
}

static void the_oldest_connection_is_kept(void) {
    struct mirror_rate rate;
    struct mirror_counters counted;
    uint32_t first = 101, second = 101, third = 101;
    make();
    mirror_rate_init(&rate);
    mirror_rate_set(&rate, 400, loop_now(loop));
    mirror_limit(mirror, &rate, NULL);
    for (uint16_t port = 1000; port <= 2000; port += 1000) {
        shake_hands(port);
        far_number(&far, FRAME_OPENED, far.opened[far.opens - 1], 1000000);
        pass(0);
    }
    uint32_t oldest = far.opened[0], younger = far.opened[1];
    for (int i = 0; i < 2; i++)
        say_something(1000, &first), say_something(2000, &second);
    shake_hands(3000); /* the bucket is empty */
    say_something(3000, &third);
    datagram(4000);
    mirror_counters_get(mirror, &counted);
    EXPECT(counted.connections == 2 && counted.bytes == 400 && counted.limited == 2);
    EXPECT(counted.datagrams == 0 && counted.dropped == 0);

    for (int i = 0; i < 10; i++) {
        say_something(1000, &first), say_something(2000, &second);
        still_pass(loop, STILL_SECOND / 20);
        far_hear(&far);
    }
    EXPECT(far.resets == 1 && far.last[FRAME_RESET].channel == younger);
    for (int i = 0; i < 30; i++) { /* alone it is too much, too, and is left alone */
        say_something(1000, &first);
        still_pass(loop, STILL_SECOND / 20);
    }
    far_hear(&far);
    mirror_counters_get(mirror, &counted);
    EXPECT(far.resets == 1 && counted.limited == 3 && counted.dropped == 0);
    EXPECT(channel_attached(&TAILQ_FIRST(&mirror->tcp->followed)->channel) && oldest != younger);

    pass(3); /* quiet again: the next one is shown */
    int opens = far.opens;
    shake_hands(5000);
    EXPECT(far.opens == opens + 1);
    unmake();
}

static const struct test tests[] = {
    TEST(half_open_ones_have_30_s),
    TEST(what_comes_again_keeps_no_half_open_one),
    TEST(an_idle_connection_is_looked_up_after_5_min),
    TEST(packets_of_either_side_put_it_off),
    TEST(those_not_shown_are_forgotten_alike),
    TEST(not_all_are_looked_up_at_once),
    TEST(an_app_that_never_ends_has_10_min),
    TEST(a_silent_client_is_gone_after_60_s),
    TEST(the_client_longest_silent_makes_room),
    TEST(the_oldest_connection_is_kept),
};

CHECK_MAIN(tests)
