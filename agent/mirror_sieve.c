/* A followed connection of which a filter chooses: its stream goes through a sieve, and has a channel from the first request that
 * matches on. The sieve's shell (sieve.h). */
#include "agent/mirror_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECES                                                                                     \
    256 /* segments that a head may lie in: a client that writes it in smaller ones is not read */

/* --- what the sieve asks for ------------------------------------------------------------------------------------- */

static enum sieve_leg on_open(void *shell) {
    struct conn *c = shell;
    if (channel_attached(&c->channel)) {
        if (!c->app_ended)
            return SIEVE_SAME;
        channel_eof(&c->channel); /* the second: forgotten without a callback */
        conn_unshow(c);
    }
    return conn_show(c) ? SIEVE_FRESH : SIEVE_NONE;
}

static size_t on_give(void *shell, const void *p, size_t n) {
    struct conn *c = shell;
    size_t sent = 0, room;
    while (sent < n && (room = channel_room(&c->channel)) > 0) {
        size_t part = n - sent < room ? n - sent : room;
        channel_send(&c->channel, (const uint8_t *)p + sent, part);
        conn_sent(c, part);
        sent += part;
    }
    c->stuck |= sent < n;
    return sent;
}

static void on_drop(void *shell) {
    struct conn *c = shell;
    if (!channel_attached(&c->channel))
        return;
    channel_reset(&c->channel, ECONNRESET);
    conn_unshow(c);
}

/* Where the edge lost its way nobody knows. */
static int on_answer(void *shell) {
    const struct conn *c = shell;
    const struct http_edge *e = &c->edge;
    int32_t later = (int32_t)(e->answered - c->stream.next);
    if (e->code != 0 && later == 0)
        return e->code;
    if (e->code != 0 && later > 0)
        return e->lost ? SIEVE_NOBODY_KNOWS : SIEVE_WENT_ON;
    bool waits = e->state == HTTP_EDGE_WAITING && e->client_known;
    return waits || reassembly_readable(&c->stream) == 0 ? SIEVE_NOT_YET : SIEVE_NOBODY_KNOWS;
}

static void on_seen(void *shell, bool matched, const char *line, size_t n) {
    struct mirror_seen *seen = &((struct conn *)shell)->port->seen;
    seen->seen++;
    seen->matched += matched;
    seen->last_n = (uint32_t)n;
    memcpy(seen->last, line, n);
}

static const struct sieve_ops ops = {.open = on_open,
                                     .give = on_give,
                                     .drop = on_drop,

                                     .answer = on_answer,
                                     .seen = on_seen};

/* --- the stream -------------------------------------------------------------------------------------------------- */

/* Where octets lie in one piece: as many as there may be; *n of them. */
static const uint8_t *gathered(struct conn *c, size_t *n, bool *all) {
    struct mirror_tcp *t = c->table;
    struct iovec iov[PIECES];
    int count = reassembly_peek(&c->stream, iov, PIECES);
    if (!t->scratch && !(t->scratch = malloc(SIEVE_HEAD)))
        return NULL;
    *n = 0;
    for (int i = 0; i < count && *n < SIEVE_HEAD; i++) {
        size_t part = iov[i].iov_len < SIEVE_HEAD - *n ? iov[i].iov_len : SIEVE_HEAD - *n;
        memcpy(t->scratch + *n, iov[i].iov_base, part);
        *n += part;
    }
    *all = count == PIECES || *n == SIEVE_HEAD;
    return t->scratch;
}

/* Bodies pass from where they lie; what the sieve does not take so may be a head in several segments. */
static size_t take(struct conn *c) {
    struct iovec first = {0};
    reassembly_peek(&c->stream, &first, 1);
    size_t n = first.iov_len, taken = 0;
    if (n >= c->left)
        taken = sieve_take(c->sieve, first.iov_base, n, n >= SIEVE_HEAD);
    if (taken == 0 && !c->stuck && reassembly_readable(&c->stream) > n) {
        bool all;
        const uint8_t *p = gathered(c, &n, &all);
        taken = p ? sieve_take(c->sieve, p, n, all) : 0;
    }
    c->left = n - taken;
    reassembly_consume(&c->stream, taken);
    return taken;
}

/* Nothing more can be read of it. The app keeps what it got whole. May free `c`. */
static void over(struct conn *c) {
    struct mirror_seen *seen = &c->port->seen;
    enum sieve_why why = sieve_over(c->sieve);
    if (c->eof_sent)
        return; /* it was counted, and the app's end is waited for */
    seen->tls += why == SIEVE_TLS;
    seen->other += why == SIEVE_NOT_HTTP || why == SIEVE_LONG || why == SIEVE_MALFORMED;
    c->table->mirror->counters.dropped += why == SIEVE_UNSURE || why == SIEVE_NO_MEMORY;
    if (!channel_attached(&c->channel) || sieve_owes(c->sieve))
        conn_cut(c, false);
    else
        conn_send_eof(c);
}

/* The stream has ended and the sieve has all that it takes of it. May free `c`. */
static void finish(struct conn *c, enum reassembly_end end) {
    bool nobodys = !c->hashed && !channel_attached(&c->channel);
    if (end == REASSEMBLY_RESET || c->reset || (end == REASSEMBLY_EOF && nobodys)) {
        conn_forget(c);
    } else if (end != REASSEMBLY_EOF) {
        c->table->mirror->counters.dropped++;
        conn_cut(c, false);
    } else if (channel_attached(&c->channel) && sieve_idle(c->sieve)) {
        conn_send_eof(c);
    }
}

void conn_sift(struct conn *c) {
    size_t taken;
    do {
        c->stuck = false;
        sieve_pump(c->sieve);
        taken = take(c);
    } while (taken > 0 && sieve_over(c->sieve) == SIEVE_GOES_ON);
    if (sieve_over(c->sieve) != SIEVE_GOES_ON)
        over(c);
    else if (c->stuck)
        channel_want_room(&c->channel);
    else if (c->stream.end != REASSEMBLY_OPEN)
        finish(c, (enum reassembly_end)c->stream.end);
}

bool conn_sift_begin(struct conn *c) {
    c->sieve = sieve_new(&ops, c, c->table->mirror->filter);
    c->left = 0;
    c->table->mirror->counters.dropped += !c->sieve;
    return c->sieve != NULL;
}
