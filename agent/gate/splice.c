/* See splice.h. */
#include "agent/gate/splice.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define NEAR        200 /* us: in so long less comes than NEAR_BUFFER, at 40 Gbit/s */
#define NEAR_BUFFER (1024 * 1024)

static void destroy(struct splice_pipe *p) {
    close(p->in);
    close(p->out);
    free(p);
}

struct splice_pipe *splice_take(struct splice_pool *pool) {
    struct splice_pipe *p = pool->spare;
    int fds[2];
    if (p) {
        pool->spare = p->next;
        pool->count--;
        return p;
    }
    p = calloc(1, sizeof *p);
    if (!p || pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(p);
        return NULL;
    }
    fcntl(fds[1], F_SETPIPE_SZ,
          SPLICE_SIZE); /* refused where a user has many: then it is smaller */
    p->out = fds[0];
    p->in = fds[1];
    return p;
}

void splice_give(struct splice_pool *pool, struct splice_pipe *p) {
    if (p->len || pool->count >= SPLICE_SPARE) {
        destroy(p);
        return;
    }
    p->next = pool->spare;
    pool->spare = p;
    pool->count++;
}

void splice_pool_free(struct splice_pool *pool) {
    for (struct splice_pipe *p; (p = pool->spare);) {
        pool->spare = p->next;
        destroy(p);
    }
    pool->count = 0;
}

ssize_t splice_fill(struct splice_pipe *p, int from) {
    ssize_t n;
    do
        n = splice(from, NULL, p->in, NULL, SPLICE_SIZE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
    while (n < 0 && errno == EINTR);
    if (n > 0)
        p->len = (size_t)n;
    return n;
}

int splice_drain(struct splice_pipe *p, int to) {
    while (p->len > 0) {
        ssize_t n = splice(p->out, NULL, to, NULL, p->len, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 && errno == EAGAIN ? 0 : -1;
        p->len -= (size_t)n;
    }
    return 0;
}

void splice_from(int from) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    static const int room = NEAR_BUFFER;
    if (getsockopt(from, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || info.tcpi_min_rtt == 0 ||
        info.tcpi_min_rtt > NEAR)
        return;
    /*privileged CAP_NET_ADMIN: SO_RCVBUFFORCE; net.core.rmem_max may be less. */
    setsockopt(from, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
}
