/* The bridge's associations by the clock: what ends after how long, what keeps it, and who makes room. The engine is whole;
 * tun0 is a socket pair, the agent is far.h, and the clock is the test's. */
#include "layer/netstack/engine.h"

#include "far.h"
#include "still_loop.h"

#include <netinet/in.h>

static struct netstack *ns;
static struct far far;
static int app; /* the app's side of tun0 */

static void make(void) {
    int fds[2];
    struct fault f;
    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
    app = fds[1];
    ns = netstack_new(fds[0], &f);
    EXPECT(ns && netstack_link_add(ns, far_make(&far), true, false, &f) == 1);
}

static void unmake(void) {
    netstack_free(ns);
    close(app);
    close(far.fd);
}

static void pass(uint64_t seconds) {
    still_pass(ns->loop, seconds * STILL_SECOND);
    far_hear(&far);
}

static struct endpoint at(uint8_t host, uint16_t port) {
    return (struct endpoint){.addr = addr_v4((uint8_t[]){198, 18, 0, host}), .port = port};
}

static void send_packet(const uint8_t *packet, size_t n) {
    uint8_t out[TUN_VNET + 200] = {0};
    memcpy(out + TUN_VNET, packet, n);
    EXPECT(write(app, out, TUN_VNET + n) == (ssize_t)(TUN_VNET + n));
    pass(0);
}

static void ask(uint16_t from, uint16_t to) {
    uint8_t packet[200];
    struct endpoint src = at(2, from), dst = at(9, to);
    send_packet(packet, view_write_udp(packet, &src, &dst, "?", 1));
}

static void ping(uint8_t identifier) {
    uint8_t packet[200];
    struct endpoint src = at(2, 0), dst = at(9, 0);
    size_t n = view_write_ip(packet, &src.addr, &dst.addr, IPPROTO_ICMP, 8);
    memcpy(packet + n, (uint8_t[]){8, 0, 0, 0, 0, identifier, 0, 1}, 8);
    send_packet(packet, n + 8);
}

/* Whether the one association there is outlives `seconds` from now, to the second, and is told to the agent as it goes. */
static void lives_for(uint64_t seconds) {
    uint32_t channel = far.last[FRAME_OPEN].channel;
    int resets = far.resets;
    pass(seconds - 1);
    EXPECT(ns->assocs.count == 1 && far.resets == resets);
    pass(2);
    EXPECT(ns->assocs.count == 0 && far.resets == resets + 1);
    EXPECT(far.last[FRAME_RESET].channel == channel && far.last[FRAME_RESET].err == 0);
    EXPECT(still_timers(ns->loop) == 0); /* and nothing ticks for nothing */
}

static void silence_ends_each_kind_in_its_time(void) {
    make();
    ask(1000, 443);
    lives_for(60);
    ask(1000, 53);
    lives_for(10);
    ping(7);
    lives_for(30);
    unmake();
}

static void a_socket_that_asked_more_than_dns_is_no_resolver(void) {
    make();
    ask(1000, 53);
    ask(1000, 123);
    lives_for(60);
    ask(1000, 123);
    ask(1000, 53);
    lives_for(60);
    unmake();
}

static void traffic_of_either_side_keeps_it(void) {
    make();
    struct endpoint peer = at(9, 443);
    ask(1000, 443);
    pass(59);
    ask(1000, 443);
    pass(59);
    EXPECT(ns->assocs.count == 1 && far.opens == 1 && far.datagrams == 2);
    far_datagram(&far, far.last[FRAME_OPEN].channel, &peer, "!");
    pass(0);
    lives_for(60);
    unmake();
}

/* The lists are by age: one that is used goes to the end, and does not hold up those behind it. */
static void each_goes_in_its_own_time(void) {
    make();
    ask(1000, 443);
    pass(20);
    ask(2000, 443);
    pass(20);
    ask(1000, 443); /* at 40 s */
    pass(42);
    EXPECT(ns->assocs.count == 1 && far.last[FRAME_RESET].channel == far.opened[1]);
    pass(20);
    EXPECT(ns->assocs.count == 0 && far.last[FRAME_RESET].channel == far.opened[0]);
    unmake();
}

static void mirrored_datagrams_are_the_agents_to_end(void) {
    make();
    struct channel_open o = {
        .kind = CHANNEL_MIRROR_UDP, .source = at(9, 777), .destination = at(2, 5300)};
    far_open(&far, 2, &o);
    pass(3600);
    EXPECT(ns->assocs.count == 1 && far.openeds == 1 && far.resets == 0);
    far_number(&far, FRAME_RESET, 2, ETIMEDOUT);
    pass(0);
    EXPECT(ns->assocs.count == 0);
    unmake();
}

/* Of any kind, the one used longest ago. */
static void at_the_bound_the_oldest_makes_room(void) {
    make();
    ping(1);
    pass(1);
    for (uint16_t i = 0; i < ASSOC_MAX - 1; i++) {
        if (i == 1000)
            pass(1);
        ask((uint16_t)(1000 + i), i % 2 ? 443 : 123);
    }
    pass(1);
    EXPECT(ns->assocs.count == ASSOC_MAX && far.resets == 0);
    ask(1000, 123); /* the oldest of its kind is used again: the next one is the oldest then */
    ask(60000, 443);
    EXPECT(ns->assocs.count == ASSOC_MAX && far.resets == 1 && ns->counters.datagrams_lost == 1);
    EXPECT(far.last[FRAME_RESET].channel == far.opened[0]); /* the echo */
    ask(60001, 443);
    EXPECT(far.resets == 2 && far.last[FRAME_RESET].channel == far.opened[2]);
    unmake();
}

static const struct test tests[] = {
    TEST(silence_ends_each_kind_in_its_time),
    TEST(a_socket_that_asked_more_than_dns_is_no_resolver),
    TEST(traffic_of_either_side_keeps_it),
    TEST(each_goes_in_its_own_time),
    TEST(mirrored_datagrams_are_the_agents_to_end),
    TEST(at_the_bound_the_oldest_makes_room),
};

CHECK_MAIN(tests)
