/* See filtered.h.
 *
 * Every call of the exchange is followed by settle(): what was left is offered again while that gets anywhere, then the end is
 * looked for. So what an op only notes (an end, raw octets, an app that could not be asked) is acted upon outside it. */
#include "agent/gate/filtered.h"

#include "agent/gate/party.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MILLISECOND (1000ull * 1000)
enum { READS_IN_A_ROW = 4, NOT_RAW = -1 };
struct filtered {
    struct conn *conn;
    struct exchange *exchange;
    struct party first[2];                 /* the client's and the target's */
    struct party *party[EXCHANGE_PARTIES]; /* NULL: an app that has nothing of this connection */
    struct timer deadline;
    struct task later;
    uint32_t refused; /* slots whose app could not be asked: to be said once the op has returned */
    int raw;          /* the party that has the connection from now on */
    bool cut;
};

static uint64_t now_of(const struct filtered *f) {
    return loop_now(f->conn->gate->loop) / MILLISECOND;
}

static struct party *party_of(struct filtered *f, unsigned which) {
    return f->party[which];
}

static unsigned number_of(const struct party *p) {
    struct filtered *f = p->owner;
    unsigned which = 0;
    while (party_of(f, which) != p)
        which++;
    return which;
}

/* --- the exchange's ops --------------------------------------------------------------------------------------------- */

static void op_send(void *shell, unsigned which, const void *octets, size_t n) {
    struct party *p = party_of(shell, which);
    if (p)
        party_send(p, octets, n);
}

static void op_end(void *shell, unsigned which) {
    struct party *p = party_of(shell, which);
    if (!p)
        return;
    p->end = true;
    party_tell_end(p);
}

static void op_cut(void *shell, unsigned which) {
    struct filtered *f = shell;
    struct party *p = party_of(f, which);
    if (which == EXCHANGE_CLIENT)
        f->cut = true;
    else if (p)
        party_close(p, true);
}

static void op_raw(void *shell, unsigned which, enum exchange_why why) {
    struct filtered *f = shell;
    struct conn *c = f->conn;
    f->raw = (int)which;
    for (unsigned i = 0; why == EXCHANGE_WHY_TLS && i < c->port->rules.count; i++)
        tally_of(&c->gate->tallies, c->port->slot[c->port->rules.order[i]].session,
                 c->port->door.stolen)
            ->tls++;
}

static void op_seen(void *shell, int slot, const char *line, size_t n) {
    const struct conn *c = ((struct filtered *)shell)->conn;
    for (unsigned i = 0; i < c->port->rules.count; i++) {
        int k = c->port->rules.order[i];
        struct control_counts *counts =
            tally_of(&c->gate->tallies, c->port->slot[k].session, c->port->door.stolen);
        counts->seen++;
        if (k == slot) {
            counts->matched++;
            return; /* younger sessions were not asked */
        }
        if (n > CONTROL_LINE)
            n = CONTROL_LINE;
        memcpy(counts->line, line, n);
        counts->line[n] = 0;
    }
}

static size_t op_backlog(void *shell, unsigned which) {
    const struct party *p = party_of(shell, which);
    return p ? p->out.len : 0;
}

/* --- after a call --------------------------------------------------------------------------------------------------- */

/* True: something more was taken. */
static bool offer_held(struct filtered *f, unsigned which) {
    struct party *p = party_of(f, which);
    if (!p || p->io.fd < 0 || (p->held_n == 0 && (!p->eof || p->eof_taken)))
        return false;
    size_t n = exchange_offer(f->exchange, which, p->held, p->held_n, p->eof, now_of(f));
    p = party_of(f, which);
    if (!p || p->io.fd < 0) /* it was cut */
        return true;
    bool ended = p->eof && !p->eof_taken && n == p->held_n && f->raw == NOT_RAW;
    p->eof_taken |= ended;
    party_took(p, n);
    return n > 0 || ended;
}

/* Both directions of an app's leg have ended: it may be asked for again. */
static void forget_done(struct filtered *f) {
    for (unsigned k = 0; k < EXCHANGE_APPS; k++) {
        struct party *p = f->party[EXCHANGE_APP + k];
        if (!p || (p->io.fd >= 0 && !(p->eof_taken && p->shut)))
            continue;
        party_close(p, false);
        free(p);
        f->party[EXCHANGE_APP + k] = NULL;
    }
}

/* In order at the end: all was sent and said. */
static bool all_said(struct filtered *f) {
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++) {
        const struct party *p = party_of(f, i);
        if (p && p->io.fd >= 0 && !p->broken && (p->out.len || p->connecting))
            return false;
    }
    return true;
}

static void go_raw(struct filtered *f);

static void set_deadline(struct filtered *f) {
    struct loop *loop = f->conn->gate->loop;
    uint64_t when = exchange_deadline(f->exchange);
    if (when == EXCHANGE_NEVER)
        timer_cancel(loop, &f->deadline);
    else
        timer_set(loop, &f->deadline, when * MILLISECOND);
}

/* False: `f` is no more. */
static bool settle(struct filtered *f) {
    for (bool more = true; more && !f->cut && f->raw == NOT_RAW;) {
        more = false;
        for (unsigned i = 0; i < EXCHANGE_PARTIES && !f->cut && f->raw == NOT_RAW; i++)
            more |= offer_held(f, i);
    }
    if (f->cut) {
        conn_destroy(f->conn, true);
        return false;
    }
    if (f->raw != NOT_RAW) {
        go_raw(f);
        return false;
    }
    forget_done(f);
    if (exchange_over(f->exchange) && all_said(f)) {
        conn_destroy(f->conn, false);
        return false;
    }
    set_deadline(f);
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++)
        if (party_of(f, i))
            party_watch(party_of(f, i));
    return true;
}

/* --- a party's events ----------------------------------------------------------------------------------------------- */

/* Its sockets have told an error. False: `f` is no more. */
static bool lose(struct party *p) {
    struct filtered *f = p->owner;
    unsigned which = number_of(p);
    if (which == EXCHANGE_CLIENT) {
        conn_destroy(f->conn, true);
        return false;
    }
    party_close(p, true);
    exchange_reset(f->exchange, which, now_of(f));
    return settle(f);
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
             exchange_offer(f->exchange, number_of(p), scratch, (size_t)n, false, now_of(f)));
    if (!settle(f))
        return -1;
    return (size_t)n == room;
}

/* False: `f` is no more. */
static bool write_out(struct party *p) {
    struct filtered *f = p->owner;
    party_flush(p);
    if (p->was_full && p->out.len < EXCHANGE_BACKLOG) {
        p->was_full = false;
        exchange_room(f->exchange, number_of(p), now_of(f));
        return settle(f);
    }
    if (exchange_over(f->exchange) && !p->out.len)
        return settle(f);
    return true;
}

/* False: it has failed, and `f` may be no more. */
static bool connected(struct party *p) {
    struct filtered *f = p->owner;
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(p->io.fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0 || err) {
        party_close(p, true);
        exchange_reset(f->exchange, EXCHANGE_TARGET, now_of(f));
        settle(f);
        return false;
    }
    p->connecting = false;
    return true;
}

/* After a settle() that `f` has outlived, an app's party may be no more. */
static bool may_read(struct filtered *f, unsigned which, const struct party *p) {
    return party_of(f, which) == p && p->io.fd >= 0 && !p->eof && !p->doubted &&
           p->held_n < EXCHANGE_HEAD;
}

static void ready(struct loop_fd *io, uint32_t events) {
    struct party *p = container_of(io, struct party, io);
    struct filtered *f = p->owner;
    unsigned which = number_of(p);
    if (p->asked) /* nobody has accepted yet; its end is told by the engine */
        return;
    if (p->connecting && !connected(p))
        return;
    if (!write_out(p) || party_of(f, which) != p || p->io.fd < 0)
        return;
    if (p->eof && !p->shut && events & (EPOLLERR | EPOLLHUP)) {
        lose(p);
        return;
    }
    int more = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
    for (int i = 0; more > 0 && i < READS_IN_A_ROW && may_read(f, which, p); i++)
        more = read_once(p);
    if (more >= 0 && party_of(f, which) == p)
        party_watch(p);
}

/* --- apps ----------------------------------------------------------------------------------------------------------- */

/* The pair's end is an end in order. */
static void ended(struct party *p) {
    p->ended = true;
    if (!p->doubted)
        return;
    p->doubted = false;
    p->eof = true;
    settle(p->owner);
}

static void answered(struct handover_offer *o, enum handover_answer what, int err) {
    struct party *p = container_of(o, struct party, offer);
    struct filtered *f = p->owner;
    unsigned which = number_of(p);
    (void)err;
    if (what == HANDOVER_ENDED) {
        ended(p);
        return;
    }
    /* TCP, too, hands out what came before a reset. */
    for (int more = what == HANDOVER_RESET && !p->asked; more > 0 && may_read(f, which, p);)
        if ((more = read_once(p)) < 0)
            return;
    if (party_of(f, which) != p)
        return;
    if (what == HANDOVER_ACCEPTED) {
        p->asked = false;
        exchange_accepted(f->exchange, which, now_of(f));
    } else {
        party_close(p, true);
        if (what == HANDOVER_REFUSED)
            exchange_refused(f->exchange, which, now_of(f));
        else
            exchange_reset(f->exchange, which, now_of(f));
    }
    settle(f);
}

static void op_ask(void *shell, unsigned which) {
    struct filtered *f = shell;
    struct conn *c = f->conn;
    unsigned k = which - EXCHANGE_APP;
    const struct port_slot *slot = &c->port->slot[k];
    struct fault ignored;
    if (!f->party[EXCHANGE_APP + k])
        f->party[EXCHANGE_APP + k] = calloc(1, sizeof *f->party[EXCHANGE_APP + k]);
    struct party *p = f->party[EXCHANGE_APP + k];
    if (p) {
        *p = (struct party){
            .gate = c->gate, .owner = f, .asked = true, .pair = true, .offer.answered = answered};
        p->io = (struct loop_fd){
            .fd = conn_offer(c, &p->offer, slot->session, slot->target, slot->app_port),
            .ready = ready};
        if (p->io.fd >= 0 && loop_add(c->gate->loop, &p->io, 0, &ignored) == 0) {
            tally_of(&c->gate->tallies, slot->session, c->port->door.stolen)->stolen++;
            return;
        }
        party_close(p, true);
    }
    f->refused |= 1u << k;
    loop_defer(c->gate->loop, &f->later);
}

static void say_refused(struct task *t) {
    struct filtered *f = container_of(t, struct filtered, later);
    unsigned k = (unsigned)__builtin_ctz(f->refused);
    f->refused &= f->refused - 1;
    if (f->refused)
        loop_defer(f->conn->gate->loop, t);
    exchange_refused(f->exchange, EXCHANGE_APP + k, now_of(f));
    settle(f);
}

static const struct exchange_ops ops = {
    .send = op_send,
    .end = op_end,
    .ask = op_ask,
    .cut = op_cut,
    .raw = op_raw,
    .seen = op_seen,
    .backlog = op_backlog,
};

/* --- the whole ------------------------------------------------------------------------------------------------------ */

static void tick(struct timer *t) {
    struct filtered *f = container_of(t, struct filtered, deadline);
    exchange_tick(f->exchange, now_of(f));
    settle(f);
}

void filtered_link(struct filtered *f, unsigned slot, bool up) {
    exchange_link(f->exchange, slot, up, now_of(f));
    settle(f);
}

void filtered_gone(struct filtered *f, uint32_t slots) {
    for (; slots && !f->cut && f->raw == NOT_RAW; slots &= slots - 1)
        exchange_gone(f->exchange, (unsigned)__builtin_ctz(slots), now_of(f));
    settle(f);
}

void filtered_drain(struct filtered *f) {
    exchange_drain(f->exchange, now_of(f));
    settle(f);
}

bool filtered_start(struct conn *c) {
    struct filtered *f = calloc(1, sizeof *f);
    struct loop *loop = c->gate->loop;
    struct loop_fd *client = &c->relay.end[CLIENT].io;
    if (!f)
        return false;
    f->conn = c;
    f->raw = NOT_RAW;
    f->deadline.fire = tick;
    f->later.run = say_refused;
    f->exchange = exchange_new(&ops, f, &c->port->rules);
    for (int i = 0; i < 2; i++) {
        f->first[i] = (struct party){.gate = c->gate, .owner = f, .io = {.fd = -1, .ready = ready}};
        f->party[i] = &f->first[i];
    }
    struct party *target = &f->first[EXCHANGE_TARGET];
    bool dialled = c->relay.end[OTHER].io.fd >= 0;
    target->connecting = !dialled || c->dialling;
    target->io.fd = dialled ? c->relay.end[OTHER].io.fd : conn_dial(c);
    c->relay.end[OTHER].io.fd = -1;
    f->first[EXCHANGE_CLIENT].io.fd = client->fd;
    if (!f->exchange || target->io.fd < 0 || loop_add(loop, &f->first[0].io, EPOLLIN, NULL) != 0 ||
        loop_add(loop, &target->io, target->connecting ? EPOLLOUT : EPOLLIN, NULL) != 0) {
        f->first[EXCHANGE_CLIENT].io.fd = -1;
        filtered_free(f, true);
        return false;
    }
    client->fd = -1;
    c->filtered = f;
    c->state = CONN_FILTERED;
    return true;
}

void filtered_free(struct filtered *f, bool reset) {
    struct loop *loop = f->conn->gate->loop;
    timer_cancel(loop, &f->deadline);
    loop_undefer(loop, &f->later);
    for (unsigned i = 0; i < EXCHANGE_PARTIES; i++)
        if (party_of(f, i))
            party_close(party_of(f, i), reset);
    for (unsigned k = 0; k < EXCHANGE_APPS; k++)
        free(f->party[EXCHANGE_APP + k]);
    exchange_free(f->exchange);
    free(f);
}

/* A party becomes an end of the relay: its socket, what it has not taken, and what has ended. */
static void hand_end(struct party *p, struct relay_end *e) {
    struct loop *loop = p->owner->conn->gate->loop;
    loop_del(loop, &p->io);
    e->io.fd = p->io.fd;
    e->pair = p->pair;
    e->shut = p->shut;
    e->broken = p->broken;
    e->eof = p->eof;
    e->out = p->out;
    p->out = (struct backlog){0};
    p->io.fd = -1;
}

static void go_raw(struct filtered *f) {
    struct conn *c = f->conn;
    struct party *client = &f->first[EXCHANGE_CLIENT], *with = party_of(f, (unsigned)f->raw);
    if (client->io.fd < 0 || !with || with->io.fd < 0 || with->asked) {
        conn_destroy(c, true);
        return;
    }
    bool kept = true, connecting = with->connecting;
    unsigned slot = (unsigned)f->raw - EXCHANGE_APP;
    hand_end(client, &c->relay.end[CLIENT]);
    hand_end(with, &c->relay.end[OTHER]);
    handover_move(&c->gate->handover, &with->offer, &c->offer);
    c->relay.end[OTHER].ended = with->ended;
    kept = relay_push(&c->relay, CLIENT, with->held, with->held_n) &&
           relay_push(&c->relay, OTHER, client->held, client->held_n);
    if (f->raw >= EXCHANGE_APP)
        conn_has_app(c, c->port->slot[slot].session, c->port->rules.slot[slot].link_lost_after);
    c->filtered = NULL;
    filtered_free(f, false);
    if (kept)
        conn_relay(c, connecting);
    else
        conn_destroy(c, true);
}
