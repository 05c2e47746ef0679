#include "stream.h"

#include "spares.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECES = 32,
    TURN =
        128 *
        1024, /* octets in one go: what a packet may find ahead of it in the link's queue, 1 ms at 1 Gbit/s */
};

struct message *message_new(size_t len) {
    struct message *m = malloc(sizeof *m + len);
    if (m) {
        memset(m, 0, sizeof *m);
        m->len = (uint32_t)len;
    }
    return m;
}

void messages_init(struct messages *q) {
    q->first = NULL;
    q->last = &q->first;
}

void messages_put(struct messages *q, struct message *m) {
    m->next = NULL;
    *q->last = m;
    q->last = &m->next;
}

void messages_push(struct messages *q, struct message *m) {
    if (!(m->next = q->first))
        q->last = &m->next;
    q->first = m;
}

struct message *messages_take(struct messages *q) {
    struct message *m = q->first;
    if (m && !(q->first = m->next))
        q->last = &q->first;
    return m;
}

void messages_clear(struct messages *q) {
    for (struct message *m; (m = messages_take(q));)
        free(m);
}

static struct stream *of(struct channel *c) {
    return container_of(c, struct stream, channel);
}

/* --- in --------------------------------------------------------------------------------------------------------------- */

/* Octets of the length word, then, in memory of that length, the rest. 0, or an errno. */
static int begin(struct stream *s, const uint8_t **p, size_t *n) {
    while (s->have<sizeof s->head && * n> 0) {
        s->head[s->have++] = *(*p)++;
        --*n;
    }
    if (s->have < sizeof s->head)
        return 0;
    uint32_t len;
    memcpy(&len, s->head, sizeof len);
    len = le32toh(len);
    if (len < s->least || len > s->most)
        return EPROTO;
    s->partial = spares_take(s->spares, len);
    if (!s->partial)
        return ENOMEM;
    memcpy(s->partial->data, s->head, sizeof s->head);
    return 0;
}

static void fill(struct stream *s, const uint8_t **p, size_t *n) {
    size_t left = s->partial->len - s->have, take = *n < left ? *n : left;
    memcpy(s->partial->data + s->have, *p, take);
    s->have += (uint32_t)take;
    *p += take;
    *n -= take;
}

static void data(struct channel *c, const uint8_t *p, size_t n) {
    struct stream *s = of(c);
    while (n > 0 && channel_attached(c)) {
        int err = s->partial ? 0 : begin(s, &p, &n);
        if (err) {
            stream_end(s, err);
            return;
        }
        if (!s->partial)
            return;
        fill(s, &p, &n);
        if (s->have < s->partial->len)
            return;
        struct message *m = s->partial;
        s->partial = NULL;
        s->have = 0;
        s->ops->got(s, m);
    }
}

void stream_granted(struct stream *s, size_t n) {
    channel_grant(&s->channel, n);
}

/* --- out -------------------------------------------------------------------------------------------------------------- */

/* As many messages as fit into `room`, as one write. */
static size_t gather(const struct stream *s, size_t room, struct iovec *iov, int *count) {
    size_t n = 0, skip = s->begun;
    *count = 0;
    for (struct message *m = s->out.first; m && n < room && *count < PIECES; m = m->next) {
        size_t take = m->len - skip < room - n ? m->len - skip : room - n;
        iov[(*count)++] = (struct iovec){m->data + skip, take};
        n += take;
        skip = 0;
    }
    return n;
}

static void dropped(struct stream *s, size_t n) {
    s->unsent -= n;
    s->begun += n;
    while (s->out.first && s->begun >= s->out.first->len) {
        s->begun -= s->out.first->len;
        spares_give(s->spares, messages_take(&s->out));
    }
}

/* One write each time there is room, so that other channels have their turn. */
static void room(struct channel *c) {
    struct stream *s = of(c);
    struct iovec iov[PIECES];
    int count;
    size_t space = channel_room(c);
    size_t n = gather(s, space < TURN ? space : TURN, iov, &count);
    if (n > 0) {
        channel_sendv(c, iov, count);
        dropped(s, n);
    }
    if (s->out.first)
        channel_want_room(c);
    if (n > 0 && s->ops->sent)
        s->ops->sent(s);
}

void stream_put(struct stream *s, struct message *m) {
    if (!channel_attached(&s->channel)) {
        free(m);
        return;
    }
    messages_put(&s->out, m);
    s->unsent += m->len;
    channel_want_room(&s->channel); /* at the end of the batch: what it gathers leaves together */
}

/* --- its end ---------------------------------------------------------------------------------------------------------- */

static void reset(struct channel *c, int err) {
    struct stream *s = of(c);
    messages_clear(&s->out);
    free(s->partial);
    s->partial = NULL;
    s->have = 0;
    s->begun = s->unsent = 0;
    s->ops->ended(s, err);
}

static void eof(struct channel *c) {
    stream_end(of(c), 0);
}

void stream_end(struct stream *s, int err) {
    if (!channel_attached(&s->channel))
        return;
    channel_reset(&s->channel, err);
    reset(&s->channel, err);
}

const struct channel_ops stream_channel_ops = {
    .data = data, .room = room, .eof = eof, .reset = reset};

void stream_init(struct stream *s, const struct stream_ops *ops, struct spares *spares,
                 uint32_t least, uint32_t most) {
    *s = (struct stream){.ops = ops, .spares = spares, .least = least, .most = most};
    messages_init(&s->out);
}
