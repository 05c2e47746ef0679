/* The link under the channels: a stream socket read frame by frame and written in few large pieces; its life and its end.
 *
 * Reading: one buffer; frames are parsed where they lie and their payload is handed out as a pointer into it. What is left
 * of a frame at the end is moved to the front. A batch of events reads READS times at most, so that one link cannot keep
 * the loop from the others.
 *
 * Writing: large payload goes to the socket straight from its owner's memory, behind what waits, and only what the socket
 * does not take is copied. Small frames gather in the queue and leave at the end of the batch. A kept link copies all of its
 * payload, and so gathers that too: whoever is woken by each piece costs more than the wait.
 *
 * The queue is bounded. Payload stops at MUX_QUEUE (and a frame). The rest, 3 MiB, is for frames without credit, which
 * always fit: a channel has at most OPEN (64 octets), OPENED, EOF, RESET (17 each) and, since a peer that has not heard of
 * a grant cannot use it, 16 grants (17) of a window under way: under 400 octets, so 7,800 channels may have all of that
 * waiting at once (on a kept link 7,000: an ACK of 15 more for each 64 KiB), and 38,000 an OPEN and a RESET. A peer that lets it come to more does not read, and the link ends.
 */
#include "mux_inner.h"

#include "span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BUFFER = 256 * 1024,
    READS = 4,                   /* of a batch */
    DIRECT = 16 * 1024,          /* payload from here on is not copied if the socket takes it */
    GATHER = 64 * 1024,          /* so much in the queue is not kept for the end of the batch */
    KEPT_GATHER = 4 * 64 * 1024, /* of a kept link: four frames by one call */
    CONTROL = 2 * 1024 * 1024 + 768 * 1024,
    LAST_READS = 64, /* when writing has failed: what the peer may have said before it went */
};

_Static_assert(READ_BUFFER >= 2 * (MUX_FRAME_MAX + FRAME_LENGTH),
               "a frame fits behind the rest of another");
/* Of a kept link, sent or not. */
#define KEPT_CAPACITY (MUX_KEPT + MUX_FRAME_MAX + CONTROL)

_Static_assert(QUEUE_CAPACITY >= MUX_QUEUE + MUX_FRAME_MAX + CONTROL && KEPT_MAX >= KEPT_CAPACITY,
               "control frames have room of their own");

static void enter(struct mux *m) {
    m->busy++;
}

static void free_memory(struct mux *m) {
    table_free(&m->table);
    queue_free(&m->queue);
    kept_free(m->kept.sent);
    free(m->in);
    free(m);
}

static void leave(struct mux *m) {
    if (--m->busy == 0 && m->freed)
        free_memory(m);
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

/* Nothing is read, written or resumed any more; everybody is told at the end of the batch, not inside whatever found out. */
static void die(struct mux *m, const struct fault *why) {
    if (m->dead)
        return;
    m->dead = true;
    m->why = *why;
    loop_del(m->loop, &m->io);
    loop_undefer(m->loop, &m->work);
    timer_cancel(m->loop, &m->kept.beat);
    loop_defer(m->loop, &m->end);
}

static void die_for(struct mux *m, int err, const char *text) {
    struct fault why;
    fault_set(&why, err, "%s", text);
    die(m, &why);
}

void mux_lost(struct mux *m, int err, const char *text) {
    if (m->kept.sent == NULL) {
        die_for(m, err, text);
    } else if (!m->dead && !m->kept.cut) {
        fault_set(&m->why, err, "%s", text);
        mux_cut_off(m);
        loop_defer(m->loop, &m->end);
    }
}

static void reset_all(struct mux *m) {
    m->ended = true;
    size_t cursor = 0;
    for (struct channel *c; (c = table_next(&m->table, &cursor)) != NULL;) {
        channel_forget(c);
        if (c->ops != NULL && c->ops->reset != NULL)
            c->ops->reset(c, ENETRESET);
    }
}

static void run_end(struct task *t) {
    struct mux *m = container_of(t, struct mux, end);
    enter(m);
    if (m->dead)
        reset_all(m);
    if (!m->freed)
        (m->dead ? m->ops->gone : m->ops->cut)(m->owner, &m->why);
    leave(m);
}

/* --- writing ---------------------------------------------------------------------------------------------------------- */

static void watch(struct mux *m) {
    if (!m->dead && !m->kept.cut)
        loop_watch(m->loop, &m->io, m->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

void mux_kick(struct mux *m) {
    if (!m->dead)
        loop_defer(m->loop, &m->work);
}

/* What waits, and then `more`, of which a kept link has none. */
static enum queue_result send_on(struct mux *m, const struct iovec *more, int count) {
    return m->kept.sent != NULL ? kept_send(m->kept.sent, m->io.fd)
                                : queue_send(&m->queue, m->io.fd, more, count);
}

static void push(struct mux *m, const struct iovec *more, int count) {
    switch (send_on(m, more, count)) {
    case QUEUE_EMPTY:
        break;
    case QUEUE_BLOCKED:
        m->blocked = true;
        watch(m);
        break;
    case QUEUE_FAILED:
        m->broken = errno;
        m->blocked = true; /* nothing is sent any more */
        mux_kick(m);       /* and the reading side finds out what the peer had to say */
        break;
    }
}

static bool has_place(const struct mux *m, size_t n) {
    return m->kept.sent != NULL ? kept_held(m->kept.sent) + n <= KEPT_CAPACITY
                                : queue_fits(&m->queue, n);
}

bool mux_opens(const struct mux *m) {
    return has_place(m, CONTROL / 2);
}

static bool fits(struct mux *m, size_t n) {
    if (has_place(m, n))
        return true;
    die_for(m, 0, "the peer has long read nothing, and the queue of what it must be told is full");
    return false;
}

static void put(struct mux *m, const void *p, size_t n) {
    if (m->kept.sent == NULL)
        queue_put(&m->queue, p, n);
    else if (!m->dead && !kept_put(m->kept.sent, p, n))
        die_for(m, ENOMEM, "keep what was sent on the link");
}

void mux_control(struct mux *m, const uint8_t *head, size_t n) {
    if (m->dead || !fits(m, n))
        return;
    put(m, head, n);
    if (!m->blocked)
        mux_kick(m);
}

void mux_payload(struct mux *m, const struct iovec *frame, int count, size_t n) {
    if (m->dead || !fits(m, n + FRAME_HEAD))
        return;
    if (n >= DIRECT && !m->blocked && m->kept.sent == NULL) {
        push(m, frame, count);
        return;
    }
    for (int i = 0; i < count; i++)
        put(m, frame[i].iov_base, frame[i].iov_len);
    if (m->blocked || m->dead)
        return;
    if (mux_unsent(m) >= (m->kept.sent != NULL ? KEPT_GATHER : GATHER))
        push(m, NULL, 0);
    else
        mux_kick(m);
}

/* --- reading ---------------------------------------------------------------------------------------------------------- */

/* The peer broke the protocol: it is told why, if the socket takes it now, and the link ends. */
static void blame(struct mux *m, const char *what) {
    if (m->dead)
        return;
    struct fault why;
    fault_set(&why, 0, "the peer sent %s", what);
    uint8_t goodbye[FRAME_GOODBYE_MAX];
    size_t n = frame_goodbye(goodbye, why.text);
    if (m->broken == 0 && !m->kept.cut && has_place(m, n)) {
        put(m, goodbye, n);
        send_on(m, NULL, 0);
    }
    die(m, &why);
}

static void take_frame(struct mux *m, const uint8_t *p, size_t n) {
    struct frame f;
    const char *wrong = frame_read(p, n, &f);
    if (wrong == NULL && f.tag == FRAME_GOODBYE) {
        struct fault why;
        fault_set(&why, 0, "the peer ended the link: %.*s", (int)f.payload_len,
                  (const char *)f.payload);
        die(m, &why);
        return;
    }
    if (wrong == NULL && f.tag == FRAME_OPEN)
        channel_offer(m, &f, &wrong);
    else if (wrong == NULL && f.tag == FRAME_ACK)
        mux_acked(m, f.received, &wrong);
    else if (wrong == NULL)
        channel_frame(m, &f, &wrong);
    if (wrong != NULL)
        blame(m, wrong);
}

/* All whole frames of the buffer. */
static void parse(struct mux *m) {
    while (!m->dead && m->filled - m->start >= FRAME_LENGTH) {
        struct span s = span_of(m->in + m->start, FRAME_LENGTH);
        uint32_t n = 0;
        span_u32(&s, &n);
        if (n > MUX_FRAME_MAX) {
            blame(m, "a frame longer than any may be");
            return;
        }
        if (m->filled - m->start - FRAME_LENGTH < n)
            break;
        const uint8_t *p = m->in + m->start + FRAME_LENGTH;
        m->start += FRAME_LENGTH + n;
        take_frame(m, p, n);
    }
}

static void move_to_front(struct mux *m) {
    size_t rest = m->filled - m->start;
    if (rest > 0 && m->start > 0)
        memmove(m->in, m->in + m->start, rest);
    m->start = 0;
    m->filled = rest;
}

/* One read and what it brought. Whether there may be more. */
static bool read_once(struct mux *m) {
    size_t space = READ_BUFFER - m->filled;
    ssize_t n = recv(m->io.fd, m->in + m->filled, space, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return errno == EINTR;
    if (n <= 0) {
        mux_lost(m, n == 0 ? 0 : errno, n == 0 ? "the peer closed the link" : "read from the link");
        return false;
    }
    m->filled += (size_t)n;
    mux_came(m, (size_t)n);
    parse(m);
    if (m->dead)
        return false;
    move_to_front(m);
    return (size_t)n == space;
}

static void read_some(struct mux *m, int reads) {
    while (reads-- > 0 && !m->dead && !m->kept.cut && read_once(m))
        continue;
}

/* --- the loop's calls --------------------------------------------------------------------------------------------------- */

static void write_failed(struct mux *m) {
    read_some(m, LAST_READS);
    if (m->broken != 0) /* else it has another socket by now */
        mux_lost(m, m->broken, "write to the link");
}

static void flush_and_serve(struct mux *m) {
    if (mux_unsent(m) > 0 && !m->blocked)
        push(m, NULL, 0);
    channel_serve(m);
    if (m->dead || m->blocked)
        return;
    if (mux_unsent(m) > 0)
        push(m, NULL, 0);
    if (m->ring != NULL && !mux_stalled(m))
        mux_kick(m);
}

static void run_work(struct task *t) {
    struct mux *m = container_of(t, struct mux, work);
    enter(m);
    if (m->broken != 0)
        write_failed(m);
    else
        flush_and_serve(m);
    leave(m);
}

static void ready(struct loop_fd *h, uint32_t events) {
    struct mux *m = container_of(h, struct mux, io);
    enter(m);
    if (events & EPOLLOUT && m->broken == 0) {
        m->blocked = false;
        flush_and_serve(m);
        watch(m);
    }
    if (events & ~(uint32_t)EPOLLOUT)
        read_some(m, READS);
    leave(m);
}

/* --- life ----------------------------------------------------------------------------------------------------------- */

void mux_wide(int fd) {
    int domain = 0, room = MUX_WIDE;
    socklen_t len = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* no more than wmem_max */
}

int mux_socket(struct mux *m, int fd, struct fault *f) {
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0)
        return fault_set(f, errno, "make the link's socket non-blocking");
    m->io = (struct loop_fd){.fd = fd, .ready = ready};
    return loop_add(m->loop, &m->io, EPOLLIN, f);
}

struct mux *mux_new(struct loop *l, int fd, bool odd, const struct mux_ops *ops, void *owner,
                    struct fault *f) {
    struct mux *m = calloc(1, sizeof *m);
    if (m == NULL) {
        fault_set(f, ENOMEM, "make a link");
        goto close_fd;
    }
    *m = (struct mux){.loop = l,
                      .ops = ops,
                      .owner = owner,
                      .own_next = odd ? 1 : 2,
                      .peer_last = odd ? 0 : UINT32_MAX};
    m->work.run = run_work;
    m->end.run = run_end;
    m->in = malloc(READ_BUFFER);
    if (m->in == NULL || !table_init(&m->table) || !queue_init(&m->queue)) {
        fault_set(f, ENOMEM, "make a link");
        goto free_mux;
    }
    if (mux_socket(m, fd, f) != 0)
        goto free_mux;
    return m;

free_mux:
    free_memory(m);
close_fd:
    close(fd);
    return NULL;
}

void mux_free(struct mux *m) {
    if (m == NULL || m->freed)
        return;
    enter(m);
    m->freed = true;
    m->dead = true;
    loop_del(m->loop, &m->io);
    loop_undefer(m->loop, &m->work);
    loop_undefer(m->loop, &m->end);
    timer_cancel(m->loop, &m->kept.beat);
    if (!m->kept.cut)
        close(m->io.fd);
    reset_all(
        m); /* also from inside one of its own callbacks: the outer round then finds nobody left */
    leave(m);
}

uint32_t mux_channels(const struct mux *m) {
    return m->table.count;
}

uint64_t mux_datagrams_dropped(const struct mux *m) {
    return m->dropped;
}
