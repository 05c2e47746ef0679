/* See door.h. */
#include "agent/gate/door.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096, ACCEPTS_IN_A_ROW = 64 };
#define PAUSE       (100ull * 1000 * 1000) /* ns */
#define PORT_LOWEST 10000
#define PORT_COUNT  22000
#define ORIGINAL_DST                                                                               \
    80 /* of SOL_IP and of SOL_IPV6: linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h, which clash with libc's */

/* --- opening -------------------------------------------------------------------------------------------------------- */

/* All but the marks are inherited by what is accepted: no call for each connection. */
static int open_one(int family, uint16_t port) {
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &(int){1}, sizeof(int));
    /* A client that vanished is found out as the target's own keepalive would: by the target's sysctls. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int));
    struct endpoint any = {.addr.family = family == AF_INET ? 4 : 6, .port = port};
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(&any, &sa);
    if (bind(fd, (struct sockaddr *)&sa, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

/* A family that the target does not have is no error; a port that is taken is. */
static bool missing(int err) {
    return err == EAFNOSUPPORT || err == EADDRNOTAVAIL;
}

static bool open_both(struct door *d, uint16_t port) {
    static const int families[2] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        d->io[i].fd = open_one(families[i], port);
        if (d->io[i].fd < 0 && !missing(errno)) {
            int err = errno;
            if (i == 1 && d->io[0].fd >= 0)
                close(d->io[0].fd);
            errno = err;
            return false;
        }
    }
    d->port = port;
    return d->io[0].fd >= 0 || d->io[1].fd >= 0;
}

/* Of what the target's kernel gives to sockets that ask for any port. */
static bool is_given_out(uint16_t port, unsigned first, unsigned last) {
    return port >= first && port <= last;
}

static bool find_in(struct door *d, unsigned first, unsigned last, bool given_out) {
    errno = EADDRINUSE;
    for (uint32_t i = 0; i < PORT_COUNT && errno == EADDRINUSE; i++) {
        uint16_t port = (uint16_t)(PORT_LOWEST + (d->stolen + i) % PORT_COUNT);
        if (is_given_out(port, first, last) == given_out && open_both(d, port))
            return true;
    }
    return false;
}

/* The search begins at a place of each stolen port's own: the next gate, of another session, likely has the same door for it. A
 * client's port that was just used with an earlier gate is then known to the kernel as the same connection come again. */
static int find_port(struct door *d, struct fault *f) {
    unsigned first = 32768, last = 60999; /* ip-sysctl's default */
    FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
    if (file) {
        if (fscanf(file, "%u %u", &first, &last) != 2)
            first = 32768, last = 60999;
        fclose(file);
    }
    /* Where that range has been made so wide that nothing is left outside, a port of its: the kernel gives out none that
     * somebody listens on, and only the program that wants just this one meets us. */
    if (find_in(d, first, last, false) || find_in(d, first, last, true))
        return 0;
    return fault_set(f, errno, "find a port to listen on in the target");
}

/* --- who calls ------------------------------------------------------------------------------------------------------ */

/* Where the client's SYN was sent to, as connection tracking has it. False: it was not redirected. */
static bool original(const struct door *d, int fd, int family, struct endpoint *own) {
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    int level = family == AF_INET ? SOL_IP : SOL_IPV6;
    return getsockopt(fd, level, ORIGINAL_DST, &sa, &len) == 0 &&
           endpoint_from_sockaddr((struct sockaddr *)&sa, own) && own->port == d->stolen;
}

/* False: there is nobody more for now. */
static bool take_one(struct door *d, struct loop_fd *io, int family) {
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof sa;
    struct door_caller caller = {0};
    caller.fd = accept4(io->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (caller.fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            loop_watch(d->loop, io, 0);
            timer_set(d->loop, &d->pause, loop_now(d->loop) + PAUSE);
            return false;
        }
        return errno != EAGAIN; /* else the client has gone again: the next one */
    }
    struct sockaddr_in6 in6;
    memcpy(&in6, &sa, sizeof in6);
    if (family == AF_INET6)
        caller.scope = in6.sin6_scope_id;
    if (endpoint_from_sockaddr((struct sockaddr *)&sa, &caller.peer) &&
        original(d, caller.fd, family, &caller.own))
        d->called(d, &caller);
    else
        close(caller.fd);
    return true;
}

static void ready4(struct loop_fd *io, uint32_t events) {
    struct door *d = container_of(io, struct door, io[0]);
    (void)events;
    for (int i = 0; i < ACCEPTS_IN_A_ROW && take_one(d, io, AF_INET); i++)
        ;
}

static void ready6(struct loop_fd *io, uint32_t events) {
    struct door *d = container_of(io, struct door, io[1]);
    (void)events;
    for (int i = 0; i < ACCEPTS_IN_A_ROW && take_one(d, io, AF_INET6); i++)
        ;
}

static void resume(struct timer *t) {
    struct door *d = container_of(t, struct door, pause);
    for (int i = 0; i < 2; i++)
        if (d->io[i].serial)
            loop_watch(d->loop, &d->io[i], EPOLLIN);
}

int door_open(struct door *d, struct loop *loop, struct fault *f) {
    d->loop = loop;
    d->io[0] = (struct loop_fd){.fd = -1, .ready = ready4};
    d->io[1] = (struct loop_fd){.fd = -1, .ready = ready6};
    d->pause = (struct timer){.fire = resume};
    if (find_port(d, f) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (d->io[i].fd >= 0 && loop_add(loop, &d->io[i], EPOLLIN, f) != 0) {
            door_close(d);
            return -1;
        }
    return 0;
}

void door_close(struct door *d) {
    timer_cancel(d->loop, &d->pause);
    for (int i = 0; i < 2; i++) {
        if (d->io[i].serial)
            loop_del(d->loop, &d->io[i]);
        if (d->io[i].fd >= 0)
            close(d->io[i].fd);
        d->io[i].fd = -1;
    }
}
