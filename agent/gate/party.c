/* See party.h. */
#include "agent/gate/party.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(EXCHANGE_HEAD == RELAY_READ, "what is left of one read fits a party's buffer");

static void drop_held(struct party *p) {
    free(p->held);
    p->held = NULL;
    p->held_n = 0;
}

void party_close(struct party *p, bool reset) {
    struct gate *g = p->gate;
    if (p->io.serial)
        loop_del(g->loop, &p->io);
    if (p->io.fd >= 0) {
        if (!reset && !p->pair)
            setsockopt(p->io.fd, SOL_SOCKET, SO_LINGER, &(struct linger){0, 0},
                       sizeof(struct linger));
        close(p->io.fd);
    }
    p->io.fd = -1;
    handover_forget(&g->handover, &p->offer, reset);
    backlog_clear(&p->out, &g->pool);
    drop_held(p);
}

void party_watch(struct party *p) {
    uint32_t events = 0;
    if (p->io.fd < 0)
        return;
    if (p->connecting || p->out.len)
        events |= EPOLLOUT;
    if (!p->connecting && !p->asked && !p->eof && !p->doubted && p->held_n < EXCHANGE_HEAD)
        events |= EPOLLIN;
    if (p->eof && !p->shut)
        events |= EPOLLERR;
    loop_watch(p->gate->loop, &p->io, events);
}

static void break_it(struct party *p, int err) {
    p->broken = err;
    backlog_clear(&p->out, &p->gate->pool);
}

void party_tell_end(struct party *p) {
    if (!p->end || p->shut || p->out.len || p->connecting || p->asked || p->io.fd < 0)
        return;
    shutdown(p->io.fd, SHUT_WR);
    p->shut = true;
}

static void keep(struct party *p, const uint8_t *octets, size_t n) {
    struct chunk_pool *pool = &p->gate->pool;
    while (n > 0) {
        size_t part = n < BACKLOG_CHUNK ? n : BACKLOG_CHUNK;
        if (!backlog_push(&p->out, pool, octets, part)) {
            break_it(p, ENOMEM);
            return;
        }
        octets += part;
        n -= part;
    }
}

bool party_vanished(const struct party *p) {
    struct pollfd poll_it = {.fd = p->io.fd};
    return p->pair && !p->shut && poll(&poll_it, 1, 0) == 1 && poll_it.revents & POLLHUP;
}

void party_send(struct party *p, const uint8_t *octets, size_t n) {
    size_t done = 0;
    if (p->io.fd < 0 || p->broken || n == 0)
        return;
    if (!p->connecting && !p->asked && p->out.len == 0) {
        ssize_t sent = send(p->io.fd, octets, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            break_it(p, errno);
            return;
        }
        done = sent > 0 ? (size_t)sent : 0;
    }
    keep(p, octets + done, n - done);
    p->was_full |= p->out.len >= EXCHANGE_BACKLOG;
    party_watch(p);
}

void party_flush(struct party *p) {
    if (backlog_flush(&p->out, &p->gate->pool, p->io.fd) < 0)
        break_it(p, errno);
    party_tell_end(p);
}

bool party_hold(struct party *p, const uint8_t *octets, size_t n) {
    p->held = malloc(EXCHANGE_HEAD);
    if (!p->held)
        return false;
    p->held_n = n;
    memcpy(p->held, octets, n);
    return true;
}

void party_took(struct party *p, size_t n) {
    p->held_n -= n;
    if (p->held_n)
        memmove(p->held, p->held + n, p->held_n);
    else
        drop_held(p);
}
