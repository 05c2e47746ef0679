/* The agent's UDP association by the clock. Its sockets are real and on loopback, but made at home and without a mark: entering
 * a target is dial.c's, and tested with one. */
#include "agent/dial.h"

#include "far.h"
#include "still_loop.h"

#include <netinet/in.h>

#define IDLE (DIAL_IDLE / STILL_SECOND)

int dial_socket(struct target *t, int domain, int type, int protocol) {
    (void)t;
    return socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

struct own *dial_own(struct target *t, int fd) {
    (void)fd;
    struct endpoint e = {.addr = addr_v4((uint8_t[]){127, 0, 0, 1}), .port = 7};
    return own_add(t->own, &e);
}

void dial_join(struct target *t, struct dial *d, void (*drop)(struct dial *self, int err)) {
    (void)t;
    d->drop = drop;
}

void dial_leave(struct dial *d) {
    (void)d;
}

static struct loop *loop;
static struct dial_desk desk;
static struct outgoing out;
static struct target target;
static struct mux *mux;
static struct far far;
static int peer; /* whom the app talks to */
static struct endpoint peer_at;

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    return dial_udp(owner, o, err);
}

static void on_gone(void *owner, const struct fault *why) {
    (void)owner;
    fprintf(stderr, "%s\n", why->text);
    exit(1);
}

static const struct mux_ops ops = {.open = on_open, .gone = on_gone};

static void pass(uint64_t seconds) {
    still_pass(loop, seconds * STILL_SECOND);
    far_hear(&far);
}

static void make(void) {
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct channel_open o = {.kind = CHANNEL_UDP};
    socklen_t len = sizeof any;
    loop = loop_new(NULL);
    desk = (struct dial_desk){.loop = loop, .scratch = malloc(DIAL_SCRATCH)};
    out = (struct outgoing){.reach = {.outgoing = true, .metadata = true}};
    shaper_init(&out.up, loop);
    shaper_init(&out.down, loop);
    target = (struct target){.desk = &desk, .own = own_table_new(), .out = &out};
    mux = mux_new(loop, far_make(&far), false, &ops, &target, NULL);
    peer = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    EXPECT(bind(peer, (struct sockaddr *)&any, sizeof any) == 0);
    EXPECT(getsockname(peer, (struct sockaddr *)&any, &len) == 0);
    EXPECT(endpoint_from_sockaddr((struct sockaddr *)&any, &peer_at));
    far_open(&far, 1, &o);
    pass(0);
    EXPECT(far.openeds == 1 && mux_channels(mux) == 1);
}

static void unmake(void) {
    EXPECT(mux_channels(mux) == 0 && still_timers(loop) == 0);
    mux_free(mux);
    shaper_fini(&out.up);
    shaper_fini(&out.down);
    loop_free(loop); /* nothing of the association is registered any more */
    own_table_free(target.own);
    free(desk.scratch);
    close(peer);
    close(far.fd);
}

/* On loopback a datagram is there when sendto returns. */
static void ask(struct sockaddr_in *from) {
    uint8_t text[8];
    socklen_t len = sizeof *from;
    far_datagram(&far, 1, &peer_at, "ask");
    pass(0);
    EXPECT(recvfrom(peer, text, sizeof text, 0, (struct sockaddr *)from, &len) == 3);
}

static void lives_for(uint64_t seconds) {
    pass(seconds - 1);
    EXPECT(mux_channels(mux) == 1 && far.resets == 0);
    pass(1);
    EXPECT(mux_channels(mux) == 0 && far.resets == 1);
    EXPECT(far.last[FRAME_RESET].channel == 1 && far.last[FRAME_RESET].err == 0);
}

static void one_that_never_spoke_ends(void) {
    make();
    lives_for(IDLE);
    unmake();
}

static void silence_ends_it_and_closes_its_socket(void) {
    make();
    struct sockaddr_in from;
    ask(&from);
    lives_for(IDLE);
    int again = socket(AF_INET, SOCK_DGRAM, 0); /* its port is to be had */
    EXPECT(bind(again, (struct sockaddr *)&from, sizeof from) == 0);
    close(again);
    unmake();
}

static void what_is_sent_and_what_is_answered_keep_it(void) {
    make();
    struct sockaddr_in from, same;
    pass(IDLE - 1);
    ask(&from);
    pass(IDLE - 1);
    EXPECT(sendto(peer, "!", 1, 0, (struct sockaddr *)&from, sizeof from) == 1);
    pass(IDLE - 1);
    EXPECT(far.datagrams == 1 && far.resets == 0);
    ask(&same);
    EXPECT(same.sin_port == from.sin_port);
    lives_for(IDLE);
    unmake();
}

static const struct test tests[] = {
    TEST(one_that_never_spoke_ends),
    TEST(silence_ends_it_and_closes_its_socket),
    TEST(what_is_sent_and_what_is_answered_keep_it),
};

CHECK_MAIN(tests)
