/* The channels of a link: their states, their credit, and whose turn it is when the link drains.
 *
 *   channel_open:   OPENING --OPENED--> OPEN
 *   mux_ops.open:   OFFERED --channel_accept--> OPEN
 *   EOF_SENT and EOF_GOT are added to any of them; both together, RESET either way, or the link's end: forgotten.
 *
 * Every callback comes last: what it does to the channel, the link or itself is never looked at afterwards.
 */
#include "mux_inner.h"

#include <errno.h>
#include <string.h>

/* --- the ring of those that wait for the link ------------------------------------------------------------------------ */

static void ring_add(struct mux *m, struct channel *c) {
    if (m->ring == NULL) {
        c->ring_next = c->ring_prev = c;
        m->ring = c;
    } else { /* behind the last, which is the one before the first */
        c->ring_next = m->ring;
        c->ring_prev = m->ring->ring_prev;
        c->ring_prev->ring_next = c;
        m->ring->ring_prev = c;
    }
    c->flags |= CHANNEL_IN_RING;
    m->waiting++;
    if (!mux_stalled(m))
        mux_kick(m);
}

static void ring_remove(struct mux *m, struct channel *c) {
    if (!(c->flags & CHANNEL_IN_RING))
        return;
    if (c->ring_next == c)
        m->ring = NULL;
    else if (m->ring == c)
        m->ring = c->ring_next;
    c->ring_next->ring_prev = c->ring_prev;
    c->ring_prev->ring_next = c->ring_next;
    c->flags &= ~(uint32_t)CHANNEL_IN_RING;
    m->waiting--;
}

static void credit_came(struct channel *c) {
    if ((c->flags & (CHANNEL_WANTS | CHANNEL_IN_RING)) == CHANNEL_WANTS && c->credit > 0)
        ring_add(c->mux, c);
}

void channel_serve(struct mux *m) {
    for (uint32_t n = m->waiting; n > 0 && m->ring != NULL && !m->dead && !mux_stalled(m); n--) {
        struct channel *c = m->ring;
        ring_remove(m, c);
        c->flags &= ~(uint32_t)CHANNEL_WANTS;
        if (c->ops->room != NULL)
            c->ops->room(c);
    }
}

/* --- coming and going -------------------------------------------------------------------------------------------------- */

void channel_attach(struct mux *m, struct channel *c, uint32_t id, uint32_t flags) {
    c->mux = m;
    c->id = id;
    c->flags = flags;
    c->credit = c->window = 0;
    c->full = c->ungranted = 0;
    table_add(&m->table, c);
}

void channel_forget(struct channel *c) {
    struct mux *m = c->mux;
    ring_remove(m, c);
    if (c->flags & CHANNEL_HASTENS)
        mux_hasty(m, -1);
    table_remove(&m->table, c);
    c->mux = NULL;
    c->flags = CHANNEL_FORGOTTEN;
}

void mux_hasten(struct channel *c) {
    if (c->mux == NULL || c->flags & CHANNEL_HASTENS)
        return;
    c->flags |= CHANNEL_HASTENS;
    mux_hasty(c->mux, 1);
}

bool channel_attached(const struct channel *c) {
    return c->mux != NULL;
}

static void say(struct channel *c, enum frame_tag tag, uint32_t number) {
    uint8_t head[FRAME_HEAD];
    mux_control(c->mux, head, frame_number(head, tag, c->id, number));
}

static void take_window(struct channel *c, uint32_t window) {
    c->full = window;
    c->window = window;
}

/* Numbers ascend and begin again after 2^31 channels; one that is still in use is passed over, and so is 0. */
static uint32_t next_id(struct mux *m) {
    uint32_t id;
    do {
        id = m->own_next;
        m->own_next += 2;
    } while (id == 0 || table_find(&m->table, id) != NULL);
    return id;
}

void channel_open(struct mux *m, struct channel *c, const struct channel_ops *ops,
                  const struct channel_open *o) {
    CHECK(c->mux == NULL);
    c->ops = ops;
    if (m->ended) {
        c->flags = CHANNEL_FORGOTTEN;
        return;
    }
    channel_attach(m, c, next_id(m), CHANNEL_OPENING);
    take_window(c, o->window);
    if (o->kind == CHANNEL_STEAL_TCP)
        mux_hasten(c);
    uint8_t head[FRAME_HEAD];
    mux_control(m, head, frame_open(head, c->id, o));
}

void channel_accept(struct channel *c, const struct channel_ops *ops, uint32_t window) {
    if (c->mux == NULL) {
        if (c->flags & CHANNEL_FORGOTTEN)
            return;
        c->flags = CHANNEL_ACCEPT; /* channel_offer goes on from here */
        c->full = window;
    } else if (c->flags & CHANNEL_OFFERED) {
        c->flags = (c->flags & ~(uint32_t)CHANNEL_OFFERED) | CHANNEL_OPEN;
        take_window(c, window);
        say(c, FRAME_OPENED, window);
        credit_came(c);
    }
    c->ops = ops;
}

void channel_reset(struct channel *c, int err) {
    if (c->mux == NULL)
        return;
    say(c, FRAME_RESET, (uint32_t)err);
    channel_forget(c);
}

void channel_eof(struct channel *c) {
    if (c->mux == NULL || c->flags & CHANNEL_EOF_SENT)
        return;
    uint8_t head[FRAME_HEAD];
    mux_control(c->mux, head, frame_eof(head, c->id));
    c->flags |= CHANNEL_EOF_SENT;
    if (c->flags & CHANNEL_EOF_GOT)
        channel_forget(c);
}

/* --- sending ----------------------------------------------------------------------------------------------------------- */

size_t channel_room(const struct channel *c) {
    enum { LEAST = 4096 }; /* of the link: close to the mark a frame is sent whole, not in crumbs */
    const struct mux *m = c->mux;
    if (m == NULL || m->dead || c->credit <= 0 ||
        (c->flags & (CHANNEL_OPEN | CHANNEL_EOF_SENT)) != CHANNEL_OPEN)
        return 0;
    size_t link = mux_space(m);
    if (link == 0)
        return 0;
    if (link < LEAST)
        link = LEAST;
    if (m->ring != NULL && link > MUX_FRAME_DATA) /* others wait: one frame each */
        link = MUX_FRAME_DATA;
    return (size_t)c->credit < link ? (size_t)c->credit : link;
}

void channel_want_room(struct channel *c) {
    if (c->mux == NULL || c->flags & CHANNEL_WANTS)
        return;
    c->flags |= CHANNEL_WANTS;
    if (c->flags & CHANNEL_OPEN)
        credit_came(c);
}

void channel_send(struct channel *c, const void *p, size_t n) {
    struct iovec iov = {(void *)(uintptr_t)p, n};
    channel_sendv(c, &iov, 1);
}

/* Where in an owner's pieces the next frame begins. */
struct cursor {
    const struct iovec *iov;
    int count;
    size_t skip; /* octets of the first piece that went already */
};

/* The next frame's payload: at most MUX_FRAME_DATA octets in at most `room` pieces. Their number; *n the octets. */
static int cut(struct cursor *at, struct iovec *out, int room, size_t *n) {
    int pieces = 0;
    *n = 0;
    while (at->count > 0 && *n < MUX_FRAME_DATA && pieces < room) {
        size_t here = at->iov->iov_len - at->skip, left = MUX_FRAME_DATA - *n;
        size_t take = here < left ? here : left;
        if (take > 0)
            out[pieces++] = (struct iovec){(uint8_t *)at->iov->iov_base + at->skip, take};
        *n += take;
        at->skip += take;
        if (at->skip == at->iov->iov_len) {
            at->iov++;
            at->count--;
            at->skip = 0;
        }
    }
    return pieces;
}

void channel_sendv(struct channel *c, const struct iovec *iov, int count) {
    struct mux *m = c->mux;
    if (m == NULL || m->dead)
        return;
    CHECK((c->flags & (CHANNEL_OPEN | CHANNEL_EOF_SENT)) == CHANNEL_OPEN);
    struct cursor at = {.iov = iov, .count = count};
    struct iovec frame[QUEUE_SLICES];
    uint8_t head[FRAME_HEAD];
    size_t n;
    for (int pieces; (pieces = cut(&at, frame + 1, QUEUE_SLICES - 1, &n)) > 0;) {
        CHECK(n <= (size_t)c->credit);
        c->credit -= (int64_t)n;
        frame[0] = (struct iovec){head, frame_data(head, c->id, n)};
        mux_payload(m, frame, 1 + pieces, n);
    }
}

bool channel_datagram(struct channel *c, const struct endpoint *peer, const void *p, size_t n) {
    struct mux *m = c->mux;
    CHECK(n <= MUX_FRAME_DATA);
    if (m == NULL || m->dead || c->flags & CHANNEL_EOF_SENT)
        return false;
    if (n > mux_space(m)) {
        m->dropped++;
        return false;
    }
    uint8_t head[FRAME_HEAD];
    struct iovec frame[2] = {{head, frame_datagram(head, c->id, peer, n)},
                             {(void *)(uintptr_t)p, n}};
    mux_payload(m, frame, 2, n);
    return true;
}

void channel_unreachable(struct channel *c, const struct endpoint *peer, int err) {
    struct mux *m = c->mux;
    if (m == NULL || m->dead || c->flags & CHANNEL_EOF_SENT)
        return;
    if (mux_space(m) == 0) { /* an answer to datagrams may be lost as they may */
        m->dropped++;
        return;
    }
    uint8_t head[FRAME_HEAD];
    mux_control(m, head, frame_unreachable(head, c->id, peer, err));
}

/* What is passed on and not yet told is missing from the window on the way, so of a large one that is little; but never less
 * than a sixteenth, so that a peer that does not read is told 16 times at most (mux.c). When the peer has less than a quarter
 * left it is already that, so that it need not stop. Whatever the window, all of it passed on is at least that: no peer
 * waits for ever. */
static uint32_t grant_step(const struct channel *c) {
    uint32_t least = c->full / 16, usual = c->full / 4;
    if (usual > MUX_GRANT_STEP)
        usual = MUX_GRANT_STEP;
    return c->window < c->full / 4 || usual < least ? least : usual;
}

void channel_grant(struct channel *c, size_t n) {
    if (c->mux == NULL || n == 0)
        return;
    CHECK(n <= UINT32_MAX - c->ungranted);
    c->ungranted += (uint32_t)n;
    if (c->ungranted < grant_step(c) || c->flags & CHANNEL_EOF_GOT)
        return;
    say(c, FRAME_GRANT, c->ungranted);
    c->window += c->ungranted;
    c->ungranted = 0;
    mux_along(c->mux);
}

/* --- what the peer says ------------------------------------------------------------------------------------------------ */

/* Whether `id` has been a channel's: not newer than the newest of its side, by serial number arithmetic (RFC 1982). */
static bool was_used(const struct mux *m, uint32_t id) {
    uint32_t newest = (id ^ m->own_next) & 1 ? m->peer_last : m->own_next - 2;
    return (int32_t)(id - newest) <= 0;
}

void channel_offer(struct mux *m, const struct frame *f, const char **wrong) {
    if (((f->channel ^ m->own_next) & 1) == 0 || f->channel == 0) {
        *wrong = "a channel whose number is ours to give";
        return;
    }
    if (was_used(m, f->channel)) {
        *wrong = "a channel whose number was used before";
        return;
    }
    m->peer_last = f->channel;
    int err = ECONNREFUSED;
    struct channel *c = m->ops->open(m->owner, &f->open, &err);
    if (m->ended)
        return;
    if (c == NULL) {
        uint8_t head[FRAME_HEAD];
        mux_control(m, head, frame_number(head, FRAME_RESET, f->channel, (uint32_t)err));
        return;
    }
    bool accepted = c->mux == NULL && c->flags & CHANNEL_ACCEPT;
    uint32_t window = c->full;
    channel_attach(m, c, f->channel, CHANNEL_OFFERED);
    c->credit = f->open.window;
    if (f->open.kind == CHANNEL_STEAL_TCP)
        mux_hasten(c);
    if (accepted)
        channel_accept(c, c->ops, window);
}

static void got_opened(struct channel *c, const struct frame *f, const char **wrong) {
    if (!(c->flags & CHANNEL_OPENING)) {
        *wrong = "a channel opened twice";
        return;
    }
    c->flags = (c->flags & ~(uint32_t)CHANNEL_OPENING) | CHANNEL_OPEN;
    c->credit = f->octets;
    credit_came(c);
    if (c->ops->opened != NULL)
        c->ops->opened(c);
}

static void got_data(struct channel *c, const struct frame *f, const char **wrong) {
    if (f->payload_len > c->window ||
        (c->flags & (CHANNEL_OPEN | CHANNEL_EOF_GOT)) != CHANNEL_OPEN) {
        *wrong = c->flags & CHANNEL_EOF_GOT ? "octets after their end"
                 : c->flags & CHANNEL_OPEN  ? "more octets than were granted"
                                            : "octets on a channel that is not open";
        return;
    }
    c->window -= f->payload_len;
    if (c->ops->data != NULL && f->payload_len > 0)
        c->ops->data(c, f->payload, f->payload_len);
}

static void got_grant(struct channel *c, const struct frame *f, const char **wrong) {
    if (c->credit + f->octets > UINT32_MAX) {
        *wrong = "more credit than a window can be";
        return;
    }
    c->credit += f->octets;
    if (c->flags & CHANNEL_OPEN)
        credit_came(c);
}

static void got_eof(struct channel *c, const char **wrong) {
    if (c->flags & CHANNEL_EOF_GOT) {
        *wrong = "an end of octets that had ended";
        return;
    }
    c->flags |= CHANNEL_EOF_GOT;
    const struct channel_ops *ops = c->ops;
    if (c->flags & CHANNEL_EOF_SENT)
        channel_forget(c);
    if (ops->eof != NULL)
        ops->eof(c);
}

static void got_reset(struct channel *c, const struct frame *f) {
    channel_forget(c);
    if (c->ops->reset != NULL)
        c->ops->reset(c, f->err);
}

void channel_frame(struct mux *m, const struct frame *f, const char **wrong) {
    struct channel *c = table_find(&m->table, f->channel);
    if (c == NULL) { /* forgotten here while this was on its way; or never there */
        if (!was_used(m, f->channel))
            *wrong = "a frame for a channel that was never opened";
        return;
    }
    switch (f->tag) {
    case FRAME_OPENED:
        got_opened(c, f, wrong);
        break;
    case FRAME_DATA:
        got_data(c, f, wrong);
        break;
    case FRAME_GRANT:
        got_grant(c, f, wrong);
        break;
    case FRAME_EOF:
        got_eof(c, wrong);
        break;
    case FRAME_RESET:
        got_reset(c, f);
        break;
    case FRAME_DATAGRAM:
        if (c->ops->datagram != NULL)
            c->ops->datagram(c, &f->peer, f->payload, f->payload_len);
        break;
    default:
        if (c->ops->unreachable != NULL)
            c->ops->unreachable(c, &f->peer, f->err);
    }
}
