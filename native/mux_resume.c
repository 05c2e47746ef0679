/* A link that outlives its socket: what has come is counted and acknowledged, what was sent is kept until the peer has it,
 * and on another socket each side goes on from there.
 *
 * Octets are counted, not frames: the half of a frame that came before the cut stays in the reader's buffer, and its other half
 * comes first on the next socket. Acknowledgements are octets of the stream themselves; one of 15 octets after a MiB
 * does not make the peer say one in turn. Those of a former socket come again with the rest, and are then no news.
 *
 * Each that travels alone wakes up every hop of the way back, which costs more than the octets that it lets go of; so they go
 * along with grants, and alone only where none is said for long.
 *
 * Known by silence: a way through proxies may die without a word, so each side says something every MUX_BEAT, or every
 * MUX_HASTE while a channel is open whose far party must not wait for that long.
 */
#include "mux_inner.h"

#include <errno.h>
#include <unistd.h>

static uint64_t beat(const struct mux *m) {
    return m->kept.hasty > 0 ? MUX_HASTE : MUX_BEAT;
}

static uint64_t silence(const struct mux *m) {
    return beat(m) * (MUX_SILENT / MUX_BEAT);
}

static void acknowledge(struct mux *m) {
    uint8_t head[FRAME_HEAD];
    m->kept.told = m->kept.received;
    m->kept.due = loop_now(m->loop) + beat(m);
    mux_control(m, head, frame_ack(head, m->kept.received));
}

static void set_beat(struct mux *m) {
    uint64_t silent = m->kept.heard + silence(m);
    timer_set(m->loop, &m->kept.beat, m->kept.due < silent ? m->kept.due : silent);
}

static void on_beat(struct timer *t) {
    struct mux *m = container_of(t, struct mux, kept.beat);
    uint64_t now = loop_now(m->loop);
    if (now - m->kept.heard >= silence(m)) {
        mux_lost(m, 0,
                 m->kept.hasty > 0 ? "nothing came from the peer for 3 s"
                                   : "nothing came from the peer for 15 s");
        return;
    }
    if (now >= m->kept.due)
        acknowledge(m);
    if (m->dead)
        return;
    if (kept_held(m->kept.sent) < KEPT_PIECE)
        kept_trim(m->kept.sent);
    set_beat(m);
}

/* As of now the peer knows what has come, and has been heard. */
static void begin(struct mux *m) {
    m->kept.cut = false;
    m->blocked = false;
    m->kept.told = m->kept.received;
    m->kept.heard = loop_now(m->loop);
    m->kept.due = m->kept.heard + beat(m);
    set_beat(m);
}

/* The first of them begins the shorter silence anew: the peer, which hears of it later, may have been silent for a long
 * beat by right. When the last has gone the next acknowledgement is as soon due as before, for a peer that has not heard so. */
void mux_hasty(struct mux *m, int more) {
    bool was = m->kept.hasty > 0;
    m->kept.hasty += (uint32_t)more;
    if (m->kept.sent == NULL || m->kept.cut || m->dead || was == (m->kept.hasty > 0))
        return;
    uint64_t now = loop_now(m->loop);
    if (!was) {
        m->kept.heard = now;
        if (m->kept.due > now + MUX_HASTE)
            m->kept.due = now + MUX_HASTE;
    }
    set_beat(m);
}

int mux_keep(struct mux *m, struct fault *f) {
    CHECK(m->ops->cut != NULL && m->kept.sent == NULL && m->queue.used == 0);
    m->kept.sent = kept_new();
    if (m->kept.sent == NULL)
        return fault_set(f, ENOMEM, "keep what a link sends");
    queue_free(&m->queue);
    m->kept.beat.fire = on_beat;
    begin(m);
    return 0;
}

uint32_t mux_window(const struct mux *m, uint32_t usual) {
    uint32_t window = MUX_WINDOW;
    if (m->kept.sent == NULL)
        return usual;
    while (window > usual && (uint64_t)window * (m->table.count + 1) > MUX_WINDOWS_ALL)
        window /= 2;
    return window > usual ? window : usual;
}

void mux_came(struct mux *m, size_t n) {
    if (m->kept.sent == NULL)
        return;
    m->kept.received += n;
    m->kept.heard = loop_now(m->loop);
    if (m->kept.received - m->kept.told >= MUX_ACK_EVERY)
        acknowledge(m);
}

void mux_along(struct mux *m) {
    if (m->kept.sent != NULL && !m->kept.cut && !m->dead &&
        m->kept.received - m->kept.told >= MUX_ACK_ALONG)
        acknowledge(m);
}

void mux_acked(struct mux *m, uint64_t received, const char **wrong) {
    if (m->kept.sent == NULL)
        *wrong = "an acknowledgement on a link that keeps nothing";
    else if (!kept_ack(m->kept.sent, received))
        *wrong = "an acknowledgement of octets that it was never sent";
    else if (m->ring != NULL && !mux_stalled(m))
        mux_kick(m);
}

void mux_cut_off(struct mux *m) {
    loop_del(m->loop, &m->io);
    close(m->io.fd);
    loop_undefer(m->loop, &m->work);
    timer_cancel(m->loop, &m->kept.beat);
    m->kept.cut = true;
    m->blocked = true;
    m->broken = 0;
}

uint64_t mux_cut(struct mux *m) {
    CHECK(m->kept.sent != NULL);
    if (m->dead)
        return m->kept.received;
    if (!m->kept.cut)
        mux_cut_off(m);
    loop_undefer(m->loop, &m->end);
    return m->kept.received;
}

static int go_on(struct mux *m, int fd, uint64_t received, struct fault *f) {
    const struct kept *k = m->kept.sent;
    if (k == NULL || m->dead)
        return fault_set(f, ENOTCONN, "the link has ended");
    mux_cut(m);
    if (!kept_rewind(m->kept.sent, received))
        return fault_set(f, EPROTO,
                         "the peer says that it has %llu octets of the link, and it can only have "
                         "%llu to %llu",
                         (unsigned long long)received, (unsigned long long)k->acked,
                         (unsigned long long)k->sent);
    return mux_socket(m, fd, f);
}

int mux_resume(struct mux *m, int fd, uint64_t received, struct fault *f) {
    if (go_on(m, fd, received, f) != 0) {
        close(fd);
        return -1;
    }
    begin(m);
    mux_kick(m);
    return 0;
}
