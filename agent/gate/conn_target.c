/* A connection's way to the target: a socket in the client's name, dialled, then a relay. */
#include "agent/gate/conn_inner.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What is under way to or from the target over lo: its round trip is microseconds, so this fills it. Left to itself the kernel lets
 * tens of MiB lie there, which have left every cache when they are read: measured, one spliced stream went from 24.6 and 25.5 Gbit/s
 * (to and from the target) to 31.6 and 37.6. The client's side may be far away, and is the kernel's to size. */
#define TARGET_BUFFER (256 * 1024)

static void dialled(struct loop_fd *io, uint32_t events) {
    struct conn *c = container_of(io, struct conn, relay.end[OTHER].io);
    int err = 0;
    socklen_t len = sizeof err;
    (void)events;
    if (getsockopt(io->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err)
        conn_destroy(c, true);
    else
        conn_start_relay(c);
}

/* A socket at one of the gate's ports, in the client's name; -1. */
static int target_socket(struct conn *c) {
    int fd = socket(c->own.addr.family == 4 ? AF_INET : AF_INET6,
                    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -1;
    static const int mark = (int)RULES_MARK, one = 1, room = TARGET_BUFFER;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /*privileged CAP_NET_ADMIN: SO_MARK, by which the rules know the gate's own connections. */
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0 &&
        clients_bind(c->gate->clients, fd, &c->own, &c->peer, c->scope, &c->from, NULL) == 0)
        return fd;
    close(fd);
    return -1;
}

int conn_dial(struct conn *c) {
    struct sockaddr_storage sa;
    socklen_t len = endpoint_to_sockaddr(&c->own, &sa);
    if (c->own.addr.family == 6)
        ((struct sockaddr_in6 *)&sa)->sin6_scope_id = c->scope;
    int fd = target_socket(c);
    if (fd < 0 || connect(fd, (struct sockaddr *)&sa, len) == 0 || errno == EINPROGRESS)
        return fd;
    close(fd);
    clients_release(c->gate->clients, &c->from);
    return -1;
}

static void await_target(struct conn *c) {
    struct loop_fd *io = &c->relay.end[OTHER].io;
    c->state = CONN_DIALLING;
    io->ready = dialled;
    if (io->fd < 0 || !conn_watch_client(c) ||
        (!io->serial && loop_add(c->gate->loop, io, EPOLLOUT, NULL) != 0))
        conn_destroy(c, true);
}

void conn_to_target(struct conn *c) {
    c->relay.end[OTHER].io.fd = conn_dial(c);
    await_target(c);
}

void conn_relay(struct conn *c, bool connecting) {
    if (connecting)
        await_target(c);
    else
        conn_start_relay(c);
}
