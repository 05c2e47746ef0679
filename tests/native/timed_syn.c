/* How connections begin and end: every pair of a state and an input. What syn.c's table does not have is forbidden, and ends the
 * process; what it has is brought about by packets and frames, and seen in packets and frames. */
#include "layer/netstack/syn.c" /* its table is its own */

#include "far.h"
#include "still_loop.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define ISN 1000 /* the app's */

static struct netstack *ns;
static struct far far;
static int wire; /* the app's side of tun0 */
static struct endpoint app, peer;

static struct flow *flow(void) {
    return flow_find(&ns->flows, &app, &peer);
}

static void settle(void) {
    still_settle(ns->loop);
    far_hear(&far);
}

static void make(void) {
    int fds[2];
    struct fault f;
    app = (struct endpoint){.addr = addr_v4((uint8_t[]){198, 18, 0, 2}), .port = 4000};
    peer = (struct endpoint){.addr = addr_v4((uint8_t[]){198, 18, 0, 9}), .port = 80};
    EXPECT(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds) == 0);
    wire = fds[1];
    ns = netstack_new(fds[0], &f);
    EXPECT(ns && netstack_link_add(ns, far_make(&far), true, false, &f) == 1);
}

static void unmake(void) {
    netstack_free(ns);
    close(wire);
    close(far.fd);
}

/* --- the app's kernel --------------------------------------------------------------------------------------------- */

static void app_sends(uint8_t flags, uint32_t seq, uint32_t ack, const char *text) {
    uint8_t out[TUN_VNET + 200] = {0};
    size_t n = TUN_VNET +
               view_write_ip(out + TUN_VNET, &app.addr, &peer.addr, IPPROTO_TCP, 20 + strlen(text));
    uint8_t *tcp = out + n;
    memcpy(tcp, (uint16_t[]){htons(app.port), htons(peer.port)}, 4);
    memcpy(tcp + 4, (uint32_t[]){htonl(seq), htonl(ack)}, 8);
    tcp[12] = 0x50;
    tcp[13] = flags;
    tcp[14] = 0xff;
    memcpy(tcp + 20, text, strlen(text));
    n += 20 + strlen(text);
    EXPECT(write(wire, out, n) == (ssize_t)n);
}

struct answer {
    uint8_t room[2000];
    struct ip_view ip;
    struct tcp_view tcp;
};

/* The next packet for the app. */
static bool app_gets(struct answer *a) {
    ssize_t n = read(wire, a->room, sizeof a->room);
    if (n < 0)
        return false;
    EXPECT(view_ip(a->room + TUN_VNET, (size_t)n - TUN_VNET, &a->ip));
    if (a->ip.proto == IPPROTO_TCP)
        EXPECT(view_tcp(&a->ip, &a->tcp));
    return true;
}

static bool app_gets_nothing(void) {
    struct answer a;
    return !app_gets(&a);
}

/* Just this; its sequence number. */
static uint32_t app_gets_tcp(uint8_t flags) {
    struct answer a;
    EXPECT(app_gets(&a) && a.ip.proto == IPPROTO_TCP);
    EXPECT((a.tcp.flags & ~TCP_FLAG_PSH) == flags);
    EXPECT(a.tcp.src_port == peer.port && a.tcp.dst_port == app.port);
    return a.tcp.seq;
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static uint32_t stack_seq; /* lwIP's next */

static void to_asked(void) {
    app_sends(TCP_FLAG_SYN, ISN, 0, "");
    settle();
    EXPECT(flow()->state == FLOW_ASKED && far.opens == 1 && app_gets_nothing());
}

static void to_handed(void) {
    to_asked();
    far_number(&far, FRAME_OPENED, far.opened[0], 0);
    settle();
    EXPECT(flow()->state == FLOW_HANDED);
    stack_seq = app_gets_tcp(TCP_FLAG_SYN | TCP_FLAG_ACK) + 1;
}

static void to_live(void) {
    to_handed();
    app_sends(TCP_FLAG_ACK, ISN + 1, stack_seq, "");
    settle();
    EXPECT(flow()->state == FLOW_LIVE && app_gets_nothing() && ns->counters.opened == 1);
}

static void to_dialling_of(uint8_t kind) {
    struct channel_open o = {.kind = kind, .window = 1000, .source = peer, .destination = app};
    far_open(&far, 2, &o);
    settle();
    EXPECT(flow()->state == FLOW_DIALLING && far.openeds == 0);
    stack_seq = app_gets_tcp(TCP_FLAG_SYN) + 1;
}

static void to_dialling(void) {
    to_dialling_of(CHANNEL_MIRROR_TCP);
}

/* A stolen one, where the kernel can be asked; it knows nothing of what this test pretends. */
static void to_queued(void) {
    struct fault f;
    ns->listeners.diag = sockdiag_open(&f);
    EXPECT(ns->listeners.diag >= 0);
    to_dialling_of(CHANNEL_STEAL_TCP);
    app_sends(TCP_FLAG_SYN | TCP_FLAG_ACK, ISN, stack_seq, "");
    settle();
    EXPECT(app_gets_tcp(TCP_FLAG_ACK) == stack_seq);
    EXPECT(flow()->state == FLOW_QUEUED && far.openeds == 0 && ns->counters.mirrored == 0);
}

/* The agent takes nothing (it gave no credit), both sides have ended: the app's octets wait in a flow without a pcb. */
static struct flow *to_draining(void) {
    to_live();
    struct flow *f = flow();
    app_sends(TCP_FLAG_FIN | TCP_FLAG_ACK, ISN + 1, stack_seq, "last words");
    uint8_t head[FRAME_HEAD];
    far_write(&far, head, frame_eof(head, far.opened[0]));
    still_pass(ns->loop, STILL_SECOND / 100);
    struct answer a;
    bool fin = false;
    while (app_gets(&a))
        fin |= (a.tcp.flags & TCP_FLAG_FIN) != 0;
    EXPECT(fin && f->state == FLOW_LIVE);
    app_sends(TCP_FLAG_ACK, ISN + 12, stack_seq + 1, "");
    settle();
    EXPECT(f->state == FLOW_DRAINING && !f->pcb && !flow() && far.eofs == 0);
    return f;
}

/* --- what is in the table ------------------------------------------------------------------------------------------ */

static void reset_by_agent(int err) {
    far_number(&far, FRAME_RESET, far.last[FRAME_OPEN].channel ? far.opened[0] : 2, (uint32_t)err);
    settle();
}

static void reset_by_app(void) {
    app_sends(TCP_FLAG_RST | TCP_FLAG_ACK, ISN + 1, stack_seq, "");
    settle();
}

static void agent_was_told(int err) {
    EXPECT(far.resets == 1 && far.last[FRAME_RESET].err == err);
    EXPECT(!flow() && app_gets_nothing());
}

static void app_was_reset(void) {
    app_gets_tcp(TCP_FLAG_RST | TCP_FLAG_ACK);
    EXPECT(!flow() && app_gets_nothing() && far.resets == 0);
}

static void asked_syn(void) {
    to_asked();
    still_pass(ns->loop, STILL_SECOND);
    app_sends(TCP_FLAG_SYN, ISN, 0, "");
    settle();
    EXPECT(flow()->state == FLOW_ASKED && far.opens == 1 && app_gets_nothing());
    still_pass(ns->loop, 4 * STILL_SECOND); /* the next was due after two seconds */
    EXPECT(flow() && ns->counters.cancelled == 0);
}

static void icmp(int err, uint8_t code) {
    struct answer a;
    make();
    to_asked();
    reset_by_agent(err);
    EXPECT(app_gets(&a) && a.ip.proto == IPPROTO_ICMP);
    EXPECT(a.ip.payload[0] == 3 && a.ip.payload[1] == code);
    EXPECT(memcmp(&a.ip.src, &peer.addr, sizeof peer.addr) == 0);
    uint16_t ports[2] = {htons(app.port), htons(peer.port)};
    EXPECT(memcmp(a.ip.payload + 8 + 20, ports, 4) == 0); /* by which its kernel finds the socket */
    EXPECT(!flow() && app_gets_nothing() && ns->counters.refused == 1);
    unmake();
}

static void rst(int err, bool is_said) {
    uint8_t event[4096];
    struct answer a;
    make();
    to_asked();
    reset_by_agent(err);
    EXPECT(app_gets(&a) && a.ip.proto == IPPROTO_TCP);
    EXPECT(a.tcp.flags == (TCP_FLAG_RST | TCP_FLAG_ACK) && a.tcp.ack == ISN + 1);
    EXPECT(!flow() && app_gets_nothing() && ns->counters.refused == 1);
    size_t n = netstack_pull(ns, event, sizeof event);
    EXPECT(is_said ? memmem(event, n, "refused", 7) != NULL : n == 0);
    unmake();
}

static void silence(int err) {
    make();
    to_asked();
    reset_by_agent(err);
    EXPECT(!flow() && app_gets_nothing() && ns->counters.refused == 1);
    app_sends(TCP_FLAG_SYN, ISN, 0, ""); /* its repetition asks anew */
    settle();
    EXPECT(far.opens == 2 && flow()->state == FLOW_ASKED);
    unmake();
}

/* connect(2)'s errors cross as what its own network would have said. */
static void asked_reset(void) {
    to_asked();
    reset_by_agent(ECONNREFUSED);
    EXPECT(!flow());
    unmake();
    rst(ECONNREFUSED, false);
    rst(EADDRNOTAVAIL, true); /* as no packet can say */
    icmp(ENETUNREACH, 0);
    icmp(EHOSTUNREACH, 1);
    icmp(EPERM, 13);
    icmp(EACCES, 13);
    silence(ETIMEDOUT);
    silence(ENETRESET);
    make();
}

static void asked_quiet(void) {
    to_asked();
    still_pass(ns->loop, 2 * STILL_SECOND);
    far_hear(&far);
    EXPECT(flow() && far.resets == 0);
    still_pass(ns->loop,
               STILL_SECOND); /* two intervals of a second, and a half for the timer's slack */
    far_hear(&far);
    agent_was_told(ECANCELED);
    EXPECT(ns->counters.cancelled == 1);
}

static void asked_rst(void) {
    to_asked();
    app_sends(TCP_FLAG_RST, ISN + 1, 0, "");
    settle();
    agent_was_told(ECANCELED);
    EXPECT(ns->counters.cancelled == 1);
}

static void handed_reset(void) {
    to_handed();
    reset_by_agent(ECONNRESET);
    app_was_reset();
}

static void handed_gone(void) {
    to_handed();
    reset_by_app();
    agent_was_told(ECONNRESET);
}

static void dialling_shaken(void) {
    to_dialling();
    app_sends(TCP_FLAG_SYN | TCP_FLAG_ACK, ISN, stack_seq, "");
    settle();
    EXPECT(flow()->state == FLOW_LIVE && far.openeds == 1 && ns->counters.mirrored == 1);
    EXPECT(app_gets_tcp(TCP_FLAG_ACK) == stack_seq);
}

static void dialling_reset(void) {
    to_dialling();
    reset_by_agent(ECONNRESET);
    app_was_reset();
}

static void dialling_gone(void) {
    to_dialling();
    app_sends(TCP_FLAG_RST | TCP_FLAG_ACK, 0, stack_seq, "");
    settle();
    agent_was_told(ECONNREFUSED);
}

/* Who says something has accepted. */
static void queued_accepted(void) {
    to_queued();
    app_sends(TCP_FLAG_ACK, ISN + 1, stack_seq, "220 ready");
    settle();
    EXPECT(flow()->state == FLOW_LIVE && far.openeds == 1 && ns->counters.mirrored == 1);
    EXPECT(far.last[FRAME_DATA].payload_len == 9 && list_empty(&ns->accepted.waiting));
    still_pass(ns->loop, STILL_SECOND);
    EXPECT(flow()->state == FLOW_LIVE);
}

static void queued_reset(void) {
    to_queued();
    reset_by_agent(ECONNRESET);
    app_was_reset();
    EXPECT(list_empty(&ns->accepted.waiting));
}

static void queued_vanished(void) {
    to_queued();
    still_pass(ns->loop, STILL_SECOND / 1000);
    far_hear(&far);
    app_gets_tcp(TCP_FLAG_RST | TCP_FLAG_ACK);
    agent_was_told(ECONNREFUSED);
    EXPECT(list_empty(&ns->accepted.waiting));
}

static void queued_gone(void) {
    to_queued();
    reset_by_app();
    agent_was_told(ECONNREFUSED);
    EXPECT(list_empty(&ns->accepted.waiting));
}

static void live_reset(void) {
    to_live();
    reset_by_agent(ECONNRESET);
    app_was_reset();
}

static void live_gone(void) {
    to_live();
    reset_by_app();
    agent_was_told(ECONNRESET);
}

static void live_ended(void) {
    to_draining();
    far_number(&far, FRAME_GRANT, far.opened[0], 1000);
    settle();
    EXPECT(far.last[FRAME_DATA].payload_len == 10 && far.eofs == 1 && far.resets == 0);
    EXPECT(ns->counters.held == 0 && !ns->reap && app_gets_nothing());
}

static void draining_reset(void) {
    to_draining();
    reset_by_agent(ECONNRESET);
    EXPECT(far.resets == 0 && ns->counters.held == 0 && app_gets_nothing());
}

/* In one batch: the agent resets, which is acted on after it, and the app does. */
static void over_reset(void) {
    to_live();
    struct flow *f = flow();
    relay_ops.reset(&f->channel, ECONNRESET);
    app_sends(TCP_FLAG_RST | TCP_FLAG_ACK, ISN + 1, stack_seq, "");
    settle();
    agent_was_told(ECONNRESET);
    EXPECT(ns->flows.count == 0 && !ns->reap);
}

static const struct pair {
    enum flow_state from;
    enum flow_input in;
    enum flow_state to;
    void (*happens)(void);
} pairs[] = {
    {FLOW_NEW, IN_SYN, FLOW_ASKED, to_asked},
    {FLOW_NEW, IN_OPEN, FLOW_DIALLING, to_dialling},
    {FLOW_ASKED, IN_SYN, FLOW_ASKED, asked_syn},
    {FLOW_ASKED, IN_OPENED, FLOW_HANDED, to_handed},
    {FLOW_ASKED, IN_RESET, FLOW_OVER, asked_reset},
    {FLOW_ASKED, IN_QUIET, FLOW_OVER, asked_quiet},
    {FLOW_ASKED, IN_RST, FLOW_OVER, asked_rst},
    {FLOW_HANDED, IN_SHAKEN, FLOW_LIVE, to_live},
    {FLOW_HANDED, IN_RESET, FLOW_OVER, handed_reset},
    {FLOW_HANDED, IN_GONE, FLOW_OVER, handed_gone},
    {FLOW_DIALLING, IN_SHAKEN, FLOW_QUEUED, dialling_shaken},
    {FLOW_DIALLING, IN_RESET, FLOW_OVER, dialling_reset},
    {FLOW_DIALLING, IN_GONE, FLOW_OVER, dialling_gone},
    {FLOW_QUEUED, IN_ACCEPTED, FLOW_LIVE, queued_accepted},
    {FLOW_QUEUED, IN_RESET, FLOW_OVER, queued_reset},
    {FLOW_QUEUED, IN_VANISHED, FLOW_OVER, queued_vanished},
    {FLOW_QUEUED, IN_GONE, FLOW_OVER, queued_gone},
    {FLOW_LIVE, IN_RESET, FLOW_OVER, live_reset},
    {FLOW_LIVE, IN_GONE, FLOW_OVER, live_gone},
    {FLOW_LIVE, IN_ENDED, FLOW_DRAINING, live_ended},
    {FLOW_DRAINING, IN_RESET, FLOW_OVER, draining_reset},
    {FLOW_OVER, IN_RESET, FLOW_OVER, over_reset},
};

static const struct pair *find_pair(enum flow_state from, enum flow_input in) {
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (pairs[i].from == from && pairs[i].in == in)
            return &pairs[i];
    return NULL;
}

/* --- what is not --------------------------------------------------------------------------------------------------- */

/* In a child, because it ends the process, and says where. */
static void is_forbidden(enum flow_state from, enum flow_input in) {
    char said[500] = "";
    int fds[2], status;
    EXPECT(pipe(fds) == 0);
    pid_t child = fork();
    EXPECT(child >= 0);
    if (child == 0) {
        dup2(fds[1], STDERR_FILENO);
        struct flow *f = flow_new(ns, &app, &peer);
        f->state = from;
        syn_input(f, in);
        _exit(0);
    }
    close(fds[1]);
    EXPECT(waitpid(child, &status, 0) == child);
    EXPECT(read(fds[0], said, sizeof said - 1) > 0);
    close(fds[0]);
    EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    EXPECT_TEXT(said, "syn.c");
    EXPECT_TEXT(said, "s->act");
}

static void every_pair(void) {
    size_t allowed = 0;
    for (int from = 0; from <= FLOW_OVER; from++) {
        for (int in = 0; in < FLOW_INPUTS; in++) {
            const struct step *s = &steps[from][in];
            const struct pair *p = find_pair((enum flow_state)from, (enum flow_input)in);
            make();
            if (p) {
                EXPECT(s->act && s->next == p->to);
                p->happens();
                allowed++;
            } else {
                EXPECT(!s->act);
                is_forbidden((enum flow_state)from, (enum flow_input)in);
            }
            unmake();
        }
    }
    EXPECT(allowed == sizeof pairs / sizeof *pairs);
}

static const struct test tests[] = {TEST(every_pair)};

CHECK_MAIN(tests)
