/* What the parties' sockets and the engine tell, told to the exchange: octets, ends, errors, and whether an app has accepted. */
#include "agent/gate/filtered_inner.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { READS_IN_A_ROW = 4 };

/* Its sockets have told an error. False: `f` is no more. */
static bool lose(struct party *p) {
    struct filtered *f = p->owner;
    unsigned which = filtered_number(p);
    if (which == EXCHANGE_CLIENT) {
        conn_destroy(f->conn, true);
        return false;
    }
    party_close(p, true);
    exchange_reset(f->exchange, which, filtered_now(f));
    return filtered_settle(f);
}

/* What has just been read lies in the gate's scratch buffer. Without memory for what is left the connection cannot go on. */
static void took(struct party *p, const uint8_t *octets, size_t n, size_t taken) {
    if (p->io.fd >= 0 && taken < n && !party_hold(p, octets + taken, n - taken))
        p->owner->cut = true;
}

/* Reads once. 1: go on, 0: nothing more for now, -1: `f` is no more. */
static int read_once(struct party *p) {
    struct filtered *f = p->owner;
    uint8_t *scratch = f->conn->gate->scratch;
    bool behind = p->held_n > 0;
    uint8_t *at = behind ? p->held + p->held_n : scratch;
    size_t room = EXCHANGE_HEAD - p->held_n;
    ssize_t n = recv(p->io.fd, at, room, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0 || (n == 0 && (p->broken || party_vanished(p))))
        return lose(p) ? 0 : -1;
    p->doubted = n == 0 && p->pair && p->shut && !p->ended;
    if (p->doubted)
        return 0;
    if (n == 0)
        p->eof = true;
    else if (behind)
        p->held_n += (size_t)n;
    else
        took(p, scratch, (size_t)n,
             exchange_offer(f->exchange, filtered_number(p), scratch, (size_t)n, false,
                            filtered_now(f)));
    if (!filtered_settle(f))
        return -1;
    return (size_t)n == room;
}

/* False: `f` is no more. */
static bool write_out(struct party *p) {
    struct filtered *f = p->owner;
    party_flush(p);
    if (p->was_full && p->out.len < EXCHANGE_BACKLOG) {
        p->was_full = false;
        exchange_room(f->exchange, filtered_number(p), filtered_now(f));
        return filtered_settle(f);
    }
    if (exchange_over(f->exchange) && !p->out.len)
        return filtered_settle(f);
    return true;
}

/* False: it has failed, and `f` may be no more. */
static bool connected(struct party *p) {
    struct filtered *f = p->owner;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(p->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err) {
        party_close(p, true);
        exchange_reset(f->exchange, EXCHANGE_TARGET, filtered_now(f));
        filtered_settle(f);
        return false;
    }
    p->connecting = false;
    return true;
}

/* After a filtered_settle() that `f` has outlived, an app's party may be no more. */
static bool may_read(struct filtered *f, unsigned which, const struct party *p) {
    return filtered_party(f, which) == p && p->io.fd >= 0 && !p->eof && !p->doubted &&
           p->held_n < EXCHANGE_HEAD;
}

void filtered_ready(struct loop_fd *io, uint32_t events) {
    struct party *p = container_of(io, struct party, io);
    struct filtered *f = p->owner;
    unsigned which = filtered_number(p);
    if (p->asked) /* nobody has accepted yet; its end is told by the engine */
        return;
    if (p->connecting && !connected(p))
        return;
    if (!write_out(p) || filtered_party(f, which) != p || p->io.fd < 0)
        return;
    if (p->eof && !p->shut && events & (EPOLLERR | EPOLLHUP)) {
        lose(p);
        return;
    }
    int more = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
    for (int i = 0; more > 0 && i < READS_IN_A_ROW && may_read(f, which, p); i++)
        more = read_once(p);
    if (more >= 0 && filtered_party(f, which) == p)
        party_watch(p);
}

/* The pair's end is an end in order. */
static void ended(struct party *p) {
    p->ended = true;
    if (!p->doubted)
        return;
    p->doubted = false;
    p->eof = true;
    filtered_settle(p->owner);
}

void filtered_answered(struct handover_offer *o, enum handover_answer what, int err) {
    struct party *p = container_of(o, struct party, offer);
    struct filtered *f = p->owner;
    unsigned which = filtered_number(p);
    (void)err;
    if (what == HANDOVER_ENDED) {
        ended(p);
        return;
    }
    /* TCP, too, hands out what came before a reset. */
    for (int more = what == HANDOVER_RESET && !p->asked; more > 0 && may_read(f, which, p);)
        if ((more = read_once(p)) < 0)
            return;
    if (filtered_party(f, which) != p)
        return;
    if (what == HANDOVER_ACCEPTED) {
        p->asked = false;
        exchange_accepted(f->exchange, which, filtered_now(f));
    } else {
        party_close(p, true);
        if (what == HANDOVER_REFUSED)
            exchange_refused(f->exchange, which, filtered_now(f));
        else
            exchange_reset(f->exchange, which, filtered_now(f));
    }
    filtered_settle(f);
}
