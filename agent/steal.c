/* See steal.h. */
#include "agent/steal.h"

#include "agent/joint.h"
#include "native/span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CHAINS = 1024, /* a power of two */
    PACKET = 512,  /* octets of one packet at most */
    PACKETS = 64,  /* of a batch, so that others get their turn */
};

enum gate_tag {
    GATE_GIVES = 1,
    GATE_ABORTS = 2,
    TELL_ACCEPTED = 16,
    TELL_REFUSED = 17,
    TELL_RESET = 18,
    TELL_SESSION = 19,
    TELL_ENDED = 20,
};

enum stolen_state { STOLEN_ASKED, STOLEN_OPEN, STOLEN_LEFT };

struct stolen {
    LIST_ENTRY(stolen) chain;
    struct joint joint; /* io.fd -1: closed, and there only to be told */
    struct handover *home;
    struct steal_counters *counters; /* NULL: it is no more of the session's */
    uint64_t number;
    uint32_t session;
    enum stolen_state state;
    enum gate_tag due; /* to be told when the gate takes it; 0: nothing is */
    int err;
    bool aborted; /* by the gate, which need not be told */
};

LIST_HEAD(stolen_chain, stolen);

struct handover {
    struct dial_desk *desk;
    struct loop_fd io;
    const struct steal_sessions *sessions;
    void *owner;
    bool full;         /* the gate's socket: EPOLLOUT is awaited */
    bool sessions_due; /* all of them are to be told */
    struct stolen_chain chains[CHAINS];
};

static struct stolen_chain *chain_of(struct handover *h, uint64_t number) {
    return &h->chains[number & (CHAINS - 1)];
}

static struct stolen *find(struct handover *h, uint64_t number) {
    struct stolen *s;
    LIST_FOREACH(s, chain_of(h, number), chain) {
        if (s->number == number)
            return s;
    }
    return NULL;
}

/* --- to the gate ---------------------------------------------------------------------------------------------------- */

/* False: its socket is full, and it is told later. One that is gone needs not be told. */
static bool say(struct handover *h, enum gate_tag tag, uint64_t what, int more) {
    uint8_t packet[64];
    struct pen w = pen_on(packet, sizeof packet);
    pen_mp_array(&w, more < 0 ? 2 : 3);
    pen_mp_uint(&w, tag);
    pen_mp_uint(&w, what);
    if (tag == TELL_SESSION)
        pen_mp_bool(&w, more);
    else if (more >= 0)
        pen_mp_uint(&w, (uint64_t)more);
    if (h->full)
        return false;
    if (send(h->io.fd, packet, (size_t)(w.at - packet), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
        (errno != EAGAIN && errno != EINTR && errno != ENOBUFS))
        return true;
    h->full = true;
    loop_watch(h->desk->loop, &h->io, EPOLLIN | EPOLLOUT);
    return false;
}

void handover_session(struct handover *h, uint32_t session, bool up) {
    if (!say(h, TELL_SESSION, session, up))
        h->sessions_due = true;
}

static void one_session(void *arg, uint32_t session, bool up) {
    handover_session(arg, session, up);
}

void handover_sessions(struct handover *h) {
    h->sessions_due = false;
    h->sessions->each(h->owner, one_session, h);
}

static void destroy(struct stolen *s) {
    if (s->joint.io.fd >= 0)
        close(s->joint.io.fd);
    LIST_REMOVE(s, chain);
    free(s);
}

/* What is due. Frees a connection that was there for this alone. */
static void tell(struct stolen *s) {
    if (!say(s->home, s->due, s->number,
             s->due == TELL_ACCEPTED || s->due == TELL_ENDED ? -1 : s->err))
        return;
    s->due = 0;
    if (s->joint.io.fd < 0)
        destroy(s);
}

static void tell_all(struct handover *h) {
    if (h->sessions_due)
        handover_sessions(h);
    for (int i = 0; i < CHAINS && !h->full; i++)
        for (struct stolen *s = LIST_FIRST(&h->chains[i]), *next; s && !h->full; s = next) {
            next = LIST_NEXT(s, chain);
            if (s->due)
                tell(s);
        }
}

/* --- one connection -------------------------------------------------------------------------------------------------- */

static void left(struct loop_fd *self, uint32_t events) {
    struct stolen *s = container_of(self, struct stolen, joint.io);
    (void)events;
    loop_del(s->home->desk->loop, self);
    close(self->fd);
    self->fd = -1;
    if (!s->due)
        destroy(s);
}

/* Until the gate closes its end of the pair: nothing else is watched for. */
static void leave(struct stolen *s) {
    struct fault f;
    int fd = s->joint.io.fd;
    s->state = STOLEN_LEFT;
    s->joint.io = (struct loop_fd){.fd = fd, .ready = left};
    if (loop_add(s->home->desk->loop, &s->joint.io, EPOLLERR, &f) < 0) {
        close(fd);
        s->joint.io.fd = -1;
    }
}

static void refuse(struct stolen *s) {
    close(s->joint.io.fd);
    s->joint.io.fd = -1;
    s->due = TELL_REFUSED;
    tell(s);
}

static void over(struct joint *j, int err) {
    struct stolen *s = container_of(j, struct stolen, joint);
    if (s->counters)
        s->counters->open--;
    s->counters = NULL;
    s->err = err;
    if (s->aborted) {
        destroy(s);
    } else if (!err) { /* said, since the pair's end would look the same if we had died */
        close(s->joint.io.fd);
        s->joint.io.fd = -1;
        s->due = TELL_ENDED;
        tell(s);
    } else if (s->state == STOLEN_ASKED || s->due == TELL_ACCEPTED) {
        refuse(s); /* that it had been accepted was never heard of */
    } else {
        s->due = TELL_RESET;
        leave(s);
        tell(s);
    }
}

static void opened(struct joint *j) {
    struct stolen *s = container_of(j, struct stolen, joint);
    s->state = STOLEN_OPEN;
    s->counters->connections++;
    s->due = TELL_ACCEPTED;
    tell(s);
    joint_start(j);
}

static void not_yet(struct loop_fd *self, uint32_t events) {
    (void)self, (void)events; /* nothing is watched before the app has accepted */
}

/* Whether this connection can begin there. */
static bool find_way(struct stolen *s, struct steal_way *way) {
    struct handover *h = s->home;
    if (!h->sessions->way(h->owner, s->session, way, &s->err))
        return false;
    if (mux_opens(way->mux))
        return true;
    s->err = ENOBUFS;
    return false;
}

static void begin(struct stolen *s, struct channel_open *o) {
    struct handover *h = s->home;
    struct fault f;
    struct steal_way way;
    if (!find_way(s, &way)) {
        refuse(s);
        return;
    }
    if (loop_add(h->desk->loop, &s->joint.io, 0, &f) < 0) {
        s->err = f.err;
        refuse(s);
        return;
    }
    s->counters = way.counters;
    s->counters->open++;
    s->joint.written = s->joint.read = &s->counters->octets;
    s->joint.writes = way.up;
    s->joint.reads = way.down;
    o->kind = CHANNEL_STEAL_TCP;
    o->window = mux_window(way.mux, DIAL_WINDOW);
    channel_open(way.mux, &s->joint.channel, &joint_channel_ops, o);
    if (!channel_attached(&s->joint.channel))
        joint_fail(&s->joint, ENETRESET);
}

/* --- from the gate --------------------------------------------------------------------------------------------------- */

static struct endpoint read_endpoint(struct span *p) {
    struct endpoint e = {.port = 0};
    const uint8_t *ip = NULL;
    uint32_t n = 0;
    uint64_t port = 0;
    if (span_mp_bin(p, &ip, &n) && span_mp_uint(p, &port)) {
        e.addr = n == 4 ? addr_v4(ip) : n == 16 ? addr_v6(ip) : e.addr;
        e.port = (uint16_t)port;
        if (!e.addr.family || port == 0 || port > UINT16_MAX)
            span_fail(p);
    }
    return e;
}

/* A packet that is not what it should be is our own program's fault: refused as far as it can be, and never believed. */
static void given(struct handover *h, struct span *p, int fd) {
    uint64_t number = 0, session = 0, target = 0;
    struct channel_open o = {0};
    span_mp_uint(p, &number);
    span_mp_uint(p, &session);
    span_mp_uint(p, &target);
    o.source = read_endpoint(p);
    o.destination = read_endpoint(p);
    o.target = (uint32_t)target;
    struct stolen *s = p->bad || fd < 0 || find(h, number) ? NULL : calloc(1, sizeof *s);
    if (!s || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
        free(s);
        if (fd >= 0)
            close(fd);
        say(h, TELL_REFUSED, number, EPROTO);
        return;
    }
    *s = (struct stolen){.home = h, .number = number, .session = (uint32_t)session};
    s->joint = (struct joint){.desk = h->desk, .over = over, .opened = opened};
    s->joint.io = (struct loop_fd){.fd = fd, .ready = not_yet};
    LIST_INSERT_HEAD(chain_of(h, number), s, chain);
    begin(s, &o);
}

static void abort_one(struct stolen *s) {
    s->aborted = true;
    if (s->state == STOLEN_LEFT || s->joint.io.fd < 0) {
        if (s->joint.io.fd >= 0)
            loop_del(s->home->desk->loop, &s->joint.io);
        destroy(s);
    } else {
        joint_fail(&s->joint, ECONNRESET);
    }
}

static void take(struct handover *h, const uint8_t *packet, size_t n, int fd) {
    struct span p = span_of(packet, n);
    uint32_t count = 0;
    uint64_t tag = 0, number = 0;
    if (!span_mp_array(&p, &count) || !span_mp_uint(&p, &tag))
        return;
    if (tag == GATE_GIVES) {
        given(h, &p, fd);
        return;
    }
    if (fd >= 0)
        close(fd);
    struct stolen *s;
    if (tag == GATE_ABORTS && span_mp_uint(&p, &number) && (s = find(h, number)))
        abort_one(s);
}

/* What came with a packet: a descriptor, or -1. */
static int fd_of(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
            c->cmsg_len == CMSG_LEN(sizeof(int))) {
            int fd;
            memcpy(&fd, CMSG_DATA(c), sizeof fd);
            return fd;
        }
    return -1;
}

static void reset_all(struct handover *h) {
    for (int i = 0; i < CHAINS; i++)
        while (!LIST_EMPTY(&h->chains[i]))
            abort_one(LIST_FIRST(&h->chains[i]));
}

/* One packet. False: there is no more, or the gate has gone, and what went through it with it. */
static bool hear(struct handover *h) {
    uint8_t packet[PACKET];
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec iov = {packet, sizeof packet};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    ssize_t n = recvmsg(h->io.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n <= 0) {
        loop_watch(h->desk->loop, &h->io, 0);
        h->full = false;
        reset_all(h);
        return false;
    }
    take(h, packet, (size_t)n, fd_of(&m));
    return true;
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct handover *h = container_of(self, struct handover, io);
    if (events & EPOLLOUT && h->full) {
        h->full = false;
        loop_watch(h->desk->loop, &h->io, EPOLLIN);
        tell_all(h);
    }
    for (int i = 0; i < PACKETS && events & ~(uint32_t)EPOLLOUT; i++)
        if (!hear(h))
            return;
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

struct handover *handover_new(struct dial_desk *desk, int fd, const struct steal_sessions *sessions,
                              void *owner, struct fault *f) {
    struct handover *h = calloc(1, sizeof *h);
    if (!h) {
        fault_set(f, ENOMEM, "a hand-over");
        close(fd);
        return NULL;
    }
    *h = (struct handover){.desk = desk, .sessions = sessions, .owner = owner};
    h->io = (struct loop_fd){.fd = fd, .ready = ready};
    if (loop_add(desk->loop, &h->io, EPOLLIN, f) < 0) {
        close(fd);
        free(h);
        return NULL;
    }
    handover_sessions(h);
    return h;
}

void handover_free(struct handover *h) {
    loop_del(h->desk->loop, &h->io);
    h->full = true; /* nobody is told any more */
    reset_all(h);
    close(h->io.fd);
    free(h);
}

void handover_hush(struct handover *h, uint32_t session) {
    for (int i = 0; i < CHAINS; i++)
        for (struct stolen *s = LIST_FIRST(&h->chains[i]), *next; s; s = next) {
            next = LIST_NEXT(s, chain);
            if (s->session == session && s->counters && s->state == STOLEN_OPEN &&
                !s->joint.asked && !s->joint.out.len)
                joint_hush(&s->joint);
        }
}

uint32_t handover_unanswered(const struct handover *h, uint32_t session) {
    uint32_t count = 0;
    for (int i = 0; i < CHAINS; i++) {
        const struct stolen *s;
        LIST_FOREACH(s, &h->chains[i], chain) {
            if (s->session == session && s->counters &&
                (s->state == STOLEN_ASKED || s->joint.asked || s->joint.out.len))
                count++;
        }
    }
    return count;
}
