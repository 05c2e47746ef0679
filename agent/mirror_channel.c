/* A followed connection and its channel: octets that the target acknowledged go out as the app takes them, answers are
 * dropped. */
#include "agent/mirror_conn.h"

#include <errno.h>

/* What the app may answer before it hears that we took it. Nobody reads it, so only the link's own pace matters. */
#define ANSWER_WINDOW (256 * 1024)

static struct conn *conn_of(struct channel *ch) {
    return container_of(ch, struct conn, channel);
}

void conn_unshow(struct conn *c) {
    mirror_port_left(c->table->mirror, c->port);
    conn_spends_no_more(c);
}

void conn_unfollow(struct conn *c) {
    bool hopeless = c->sieve && sieve_over(c->sieve) != SIEVE_GOES_ON;
    sieve_free(c->sieve);
    c->sieve = NULL;
    reassembly_drop(&c->stream);
    if (c->hashed)
        conn_set_phase(c, hopeless ? PHASE_IGNORED : PHASE_MIDDLE);
    else
        conn_forget(c);
}

/* May free `c`. */
static void unfollowed(struct conn *c) {
    conn_unshow(c);
    conn_unfollow(c);
}

static void on_opened(struct channel *ch) {
    conn_flush(conn_of(ch));
}

static void on_data(struct channel *ch, const uint8_t *p, size_t n) {
    struct conn *c = conn_of(ch);
    channel_grant(ch, n);
    if (!c->sieve)
        return;
    sieve_answered(c->sieve, p, n);
    conn_flush(c);
}

static void on_room(struct channel *ch) {
    conn_flush(conn_of(ch));
}

static void on_eof(struct channel *ch) {
    struct conn *c = conn_of(ch);
    c->app_ended = true;
    if (!channel_attached(ch))
        unfollowed(c);
}

static void on_reset(struct channel *ch, int err) {
    struct conn *c = conn_of(ch);
    if (err == ENETRESET)
        c->table->mirror->mux = NULL;
    if (!c->sieve || !c->hashed || err == ENETRESET) {
        unfollowed(c);
        return;
    }
    conn_unshow(c);
    sieve_lost(c->sieve); /* the app's end, not the client's: its next request is another matter */
    conn_flush(c);
}

static const struct channel_ops ops = {
    .opened = on_opened, .data = on_data, .room = on_room, .eof = on_eof, .reset = on_reset};

void conn_spends_no_more(struct conn *c) {
    if (c->share.begun)
        mirror_rate_end(c->table->mirror->rate, &c->share);
}

static void count_limited(struct conn *c) {
    c->table->mirror->counters.limited += !c->limited;
    c->limited = true;
}

/* Whether the link and the session's limits have room for one more; counted, if not. */
static bool admitted(struct conn *c) {
    struct mirror *m = c->table->mirror;
    if (!mux_opens(m->mux)) {
        m->counters.dropped++;
        return false;
    }
    if (!mirror_is_full(m) && (!m->rate || mirror_rate_allows(m->rate, loop_now(m->loop))))
        return true;
    count_limited(c);
    return false;
}

void mirror_tcp_limit(struct mirror_rate *rate, uint64_t now) {
    for (struct mirror_share *s; (s = mirror_rate_excess(rate, now));) {
        struct conn *c = container_of(s, struct conn, share);
        count_limited(c);
        conn_cut(c, false);
    }
}

bool conn_show(struct conn *c) {
    struct mirror *m = c->table->mirror;
    if (!m->mux || !admitted(c))
        return false;
    struct channel_open open = {
        .kind = CHANNEL_MIRROR_TCP,
        .window = ANSWER_WINDOW,
        .source = c->client,
        .destination = {.addr = c->own.addr, .port = c->port->port.app_port},
        .target = m->target,
    };
    c->channel = (struct channel){0};
    c->eof_sent = c->app_ended = false;
    c->port->live++;
    m->counters.connections++;
    channel_open(m->mux, &c->channel, &ops, &open);
    if (!channel_attached(&c->channel)) {
        m->mux = NULL;
        conn_unshow(c);
        return false;
    }
    if (m->rate)
        mirror_rate_begin(m->rate, &c->share);
    return true;
}

void conn_follow(struct conn *c) {
    const struct mirror *m = c->table->mirror;
    bool wanted = c->port->wanted && m->mux;
    if (wanted && (m->filter ? conn_sift_begin(c) : conn_show(c))) {
        conn_set_phase(c, PHASE_FOLLOWED);
        conn_touch(c);
    } else {
        conn_unfollow(c);
    }
}

void conn_cut(struct conn *c, bool politely) {
    if (!channel_attached(&c->channel)) {
        conn_unfollow(c);
        return;
    }
    if (politely && c->app_ended && !c->eof_sent)
        channel_eof(&c->channel); /* the second EOF: forgotten without a callback */
    else
        channel_reset(&c->channel, ECONNRESET);
    unfollowed(c);
}

void conn_sent(struct conn *c, size_t n) {
    c->table->mirror->counters.bytes += n;
    if (c->share.begun)
        mirror_rate_spend(c->table->mirror->rate, &c->share, n);
}

static void send_readable(struct conn *c) {
    size_t room;
    while (reassembly_readable(&c->stream) > 0 && (room = channel_room(&c->channel)) > 0) {
        struct iovec iov[16];
        size_t most = room < MUX_FRAME_DATA ? room : MUX_FRAME_DATA;
        int count = reassembly_peek(&c->stream, iov, 16);
        size_t n = 0;
        for (int i = 0; i < count; i++) {
            if (iov[i].iov_len > most - n)
                iov[i].iov_len = most - n;
            n += iov[i].iov_len;
            if (n == most)
                count = i + 1;
        }
        channel_sendv(&c->channel, iov, count);
        reassembly_consume(&c->stream, n);
        conn_sent(c, n);
    }
}

void conn_send_eof(struct conn *c) {
    if (c->eof_sent)
        return;
    c->eof_sent = true;
    channel_eof(&c->channel);
    if (!channel_attached(&c->channel))
        unfollowed(c);
}

/* How the stream ends, once all of it has been sent. May free `c`. */
static void finish(struct conn *c) {
    enum reassembly_end end = (enum reassembly_end)c->stream.end;
    if (end == REASSEMBLY_RESET || c->reset) {
        conn_forget(c);
    } else if (end == REASSEMBLY_EOF) {
        conn_send_eof(c);
    } else if (end != REASSEMBLY_OPEN) {
        c->table->mirror->counters.dropped++;
        conn_cut(c, false);
    }
}

void conn_flush(struct conn *c) {
    if (c->phase != PHASE_FOLLOWED)
        return;
    if (c->sieve) {
        conn_sift(c);
        return;
    }
    if (!channel_attached(&c->channel))
        return;
    send_readable(c);
    if (reassembly_readable(&c->stream) > 0)
        channel_want_room(&c->channel);
    else
        finish(c);
}
