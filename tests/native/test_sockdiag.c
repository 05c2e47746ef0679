/* What the kernel says of sockets that this test makes: every kind of listener, every state of a connection. */
#include "check.h"
#include "sockdiag.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static int diag;

static struct endpoint at(const char *ip, uint16_t port) {
    uint8_t octets[16];
    bool v6 = strchr(ip, ':') != NULL;
    EXPECT(inet_pton(v6 ? AF_INET6 : AF_INET, ip, octets) == 1);
    return (struct endpoint){.addr = v6 ? addr_v6(octets) : addr_v4(octets), .port = port};
}

static struct endpoint own_end(int fd) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct endpoint e;
    EXPECT(getsockname(fd, (struct sockaddr *)&sa, &len) == 0);
    EXPECT(endpoint_from_sockaddr((struct sockaddr *)&sa, &e));
    return e;
}

/* A socket bound to `ip` at any port; of TCP it listens. `ip` is taken as it is written: "::ffff:1.2.3.4" is IPv6's. */
static int bound(int type, const char *ip, bool v6_only, uint16_t *port) {
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    struct sockaddr_in in = {.sin_family = AF_INET};
    bool v6 = strchr(ip, ':') != NULL;
    EXPECT(inet_pton(v6 ? AF_INET6 : AF_INET, ip,
                     v6 ? (void *)&in6.sin6_addr : (void *)&in.sin_addr) == 1);
    int fd = socket(v6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    int only = v6_only;
    EXPECT(fd >= 0 && (!v6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only) == 0));
    EXPECT(bind(fd, v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in,
                v6 ? sizeof in6 : sizeof in) == 0);
    EXPECT(type != SOCK_STREAM || listen(fd, 5) == 0);
    *port = own_end(fd).port;
    return fd;
}

static int connected(int type, struct endpoint to) {
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(&to, &sa);
    int fd = socket(sa.ss_family, type | SOCK_CLOEXEC, 0);
    EXPECT(fd >= 0 && connect(fd, (struct sockaddr *)&sa, len) == 0);
    return fd;
}

static const struct {
    const char *ip;
    bool v6_only;
    uint8_t family, loopback;
    bool takes_v4, takes_v6; /* at 127.0.0.1, at ::1 */
} kinds[] = {
    {"0.0.0.0", false, 4, 0, true, false},
    {"127.0.0.1", false, 4, 1, true, false},
    {"127.1.2.3", false, 4, 1, false, false},
    {"::", false, 10, 0, true, true},
    {"::", true, 6, 0, false, true},
    {"::1", false, 6, 1, false, true},
    {"::ffff:127.0.0.1", false, 4, 1, true, false},
};

static bool listed(uint8_t proto, uint16_t port, uint8_t family, uint8_t loopback) {
    static struct sockdiag_port ports[4096];
    int n = sockdiag_listening(diag, ports, 4096, NULL);
    EXPECT(n >= 0);
    int found = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0) /* sorted, no doubles */
            EXPECT(ports[i - 1].proto < ports[i].proto || ports[i - 1].port <= ports[i].port);
        if (ports[i].proto == proto && ports[i].port == port) {
            EXPECT(ports[i].family == family && ports[i].loopback == loopback);
            found++;
        }
    }
    EXPECT(found <= 1);
    return found == 1;
}

static void listeners(void) {
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (int t = 0; t < 2; t++) {
        uint8_t proto = types[t] == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            uint16_t port;
            int fd = bound(types[t], kinds[i].ip, kinds[i].v6_only, &port);
            struct endpoint v4 = at("127.0.0.1", port), v6 = at("::1", port);
            EXPECT(listed(proto, port, kinds[i].family, kinds[i].loopback));
            EXPECT(sockdiag_accepts(diag, proto, &v4, NULL) == kinds[i].takes_v4);
            EXPECT(sockdiag_accepts(diag, proto, &v6, NULL) == kinds[i].takes_v6);
            close(fd);
            EXPECT(!listed(proto, port, kinds[i].family, kinds[i].loopback));
            EXPECT(sockdiag_accepts(diag, proto, &v4, NULL) == 0);
        }
    }
}

/* Several sockets of one port, as workers have them, are one entry. */
static void workers_share_a_port(void) {
    int one = 1, fds[3];
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof in;
    for (int i = 0; i < 3; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT(setsockopt(fds[i], SOL_SOCKET, SO_REUSEPORT, &one, sizeof one) == 0);
        EXPECT(bind(fds[i], (struct sockaddr *)&in, sizeof in) == 0 && listen(fds[i], 1) == 0);
        EXPECT(getsockname(fds[i], (struct sockaddr *)&in, &len) == 0);
    }
    EXPECT(listed(IPPROTO_TCP, ntohs(in.sin_port), 4, 0));
    for (int i = 0; i < 3; i++)
        close(fds[i]);
}

static void connections(void) {
    static const struct {
        const char *listener, *to;
    } cases[] = {{"127.0.0.1", "127.0.0.1"}, {"::", "127.0.0.1"}, {"::1", "::1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t port;
        int server = bound(SOCK_STREAM, cases[i].listener, false, &port);
        struct endpoint there = at(cases[i].to, port);
        int client = connected(SOCK_STREAM, there);
        struct endpoint here = own_end(client), nobody = here;
        nobody.port ^= 1;
        EXPECT(sockdiag_has_tcp(diag, &here, &there, NULL) == 1);
        EXPECT(sockdiag_has_tcp(diag, &there, &here, NULL) == 1); /* not accepted yet */
        EXPECT(sockdiag_has_tcp(diag, &there, &nobody, NULL) ==
               0); /* the listener alone does not count */
        int accepted = accept(server, NULL, NULL);
        EXPECT(sockdiag_has_tcp(diag, &there, &here, NULL) == 1);
        EXPECT(!listed(IPPROTO_TCP, here.port, here.addr.family, 1));
        close(client);
        close(accepted);
        EXPECT(sockdiag_has_tcp(diag, &here, &there, NULL) ==
               1); /* TIME_WAIT, of who closed first */
        EXPECT(sockdiag_has_tcp(diag, &there, &here, NULL) == 0);
        close(server);
    }
    struct endpoint v4 = at("127.0.0.1", 1), v6 = at("::1", 1);
    EXPECT(sockdiag_has_tcp(diag, &v4, &v6, NULL) == 0);
}

/* From its handshake until its end. */
static void the_servers_side(void) {
    static const struct {
        const char *listener, *to;
    } cases[] = {{"127.0.0.1", "127.0.0.1"}, {"::", "127.0.0.1"}, {"::1", "::1"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t port;
        int server = bound(SOCK_STREAM, cases[i].listener, false, &port);
        struct endpoint there = at(cases[i].to, port);
        int client = connected(SOCK_STREAM, there);
        struct endpoint here = own_end(client), nobody = here;
        nobody.port ^= 1;
        EXPECT(sockdiag_server(diag, &there, &nobody, NULL) == SOCKDIAG_NONE);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_WAITS);
        EXPECT(write(client, "x", 1) == 1);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_WAITS);
        int accepted = accept(server, NULL, NULL);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_ACCEPTED);
        EXPECT(shutdown(accepted, SHUT_WR) == 0);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_ACCEPTED);
        close(accepted);
        close(client);
        int left = connected(SOCK_STREAM, there);
        here = own_end(left);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_WAITS);
        close(server);
        EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_NONE);
        close(left);
    }
}

/* TCP_DEFER_ACCEPT: the queue has it with its first octets, which is where they may lie unread. */
static void deferred(void) {
    uint16_t port;
    int server = bound(SOCK_STREAM, "127.0.0.1", false, &port), seconds = 5;
    EXPECT(setsockopt(server, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds) == 0);
    struct endpoint there = at("127.0.0.1", port);
    int client = connected(SOCK_STREAM, there);
    struct endpoint here = own_end(client);
    EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_SHAKING);
    EXPECT(write(client, "x", 1) == 1);
    EXPECT(sockdiag_server(diag, &there, &here, NULL) == SOCKDIAG_WAITS);
    close(client);
    close(server);
}

/* A connected UDP socket, a resolver's, is neither listed nor does it accept. */
static void connected_udp(void) {
    uint16_t port;
    int server = bound(SOCK_DGRAM, "127.0.0.1", false, &port);
    int client = connected(SOCK_DGRAM, at("127.0.0.1", port));
    struct endpoint here = own_end(client);
    EXPECT(!listed(IPPROTO_UDP, here.port, 4, 1) &&
           sockdiag_accepts(diag, IPPROTO_UDP, &here, NULL) == 0);
    close(client);
    close(server);
}

/* More listeners than one answer of the kernel holds, and than the caller's room. */
static void many(void) {
    enum { MANY = 600 };
    int fds[MANY];
    uint16_t port[MANY];
    for (int i = 0; i < MANY; i++)
        fds[i] = bound(SOCK_STREAM, "127.0.0.1", false, &port[i]);
    for (int i = 0; i < MANY; i += 37)
        EXPECT(listed(IPPROTO_TCP, port[i], 4, 1));
    struct sockdiag_port few[10];
    EXPECT(sockdiag_listening(diag, few, 10, NULL) == 10);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    EXPECT(!listed(IPPROTO_TCP, port[0], 4, 1));
}

static void open_diag(void) {
    struct fault f;
    diag = sockdiag_open(&f);
    EXPECT(diag >= 0);
}

static void bad_fd(void) {
    struct fault f = {0};
    struct sockdiag_port port;
    EXPECT(sockdiag_listening(-1, &port, 1, &f) == -1);
    EXPECT_TEXT(f.text, "ask sock_diag");
    close(diag);
}

static const struct test tests[] = {TEST(open_diag),
                                    TEST(listeners),
                                    TEST(workers_share_a_port),
                                    TEST(connections),
                                    TEST(the_servers_side),
                                    TEST(deferred),
                                    TEST(connected_udp),
                                    TEST(many),
                                    TEST(bad_fd)};
CHECK_MAIN(tests)
