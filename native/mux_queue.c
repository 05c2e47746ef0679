/* The ring of unsent octets. Payload that the socket takes at once is never copied into it. */
#include "mux_queue.h"

#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

bool queue_init(struct mux_queue *q) {
    *q = (struct mux_queue){.ring = malloc(QUEUE_CAPACITY)};
    return q->ring != NULL;
}

void queue_free(struct mux_queue *q) {
    free(q->ring);
    *q = (struct mux_queue){0};
}

bool queue_fits(const struct mux_queue *q, size_t n) {
    return n <= QUEUE_CAPACITY - q->used;
}

void queue_put(struct mux_queue *q, const void *p, size_t n) {
    CHECK(queue_fits(q, n));
    if (n == 0)
        return;
    size_t tail = (q->head + q->used) & (QUEUE_CAPACITY - 1);
    size_t first = n < QUEUE_CAPACITY - tail ? n : QUEUE_CAPACITY - tail;
    memcpy(q->ring + tail, p, first);
    memcpy(q->ring, (const uint8_t *)p + first, n - first);
    q->used += n;
}

/* An empty ring begins at its start again, so that a link that keeps up lives in the same few pages. */
static void drop(struct mux_queue *q, size_t n) {
    q->used -= n;
    q->head = q->used == 0 ? 0 : (q->head + n) & (QUEUE_CAPACITY - 1);
}

/* The waiting octets as one or two pieces. */
static int pieces(const struct mux_queue *q, struct iovec *out) {
    if (q->used == 0)
        return 0;
    size_t first = QUEUE_CAPACITY - q->head;
    if (q->used <= first) {
        out[0] = (struct iovec){q->ring + q->head, q->used};
        return 1;
    }
    out[0] = (struct iovec){q->ring + q->head, first};
    out[1] = (struct iovec){q->ring, q->used - first};
    return 2;
}

static void put_rest(struct mux_queue *q, const struct iovec *more, int count, size_t sent) {
    for (int i = 0; i < count; i++) {
        size_t skip = sent < more[i].iov_len ? sent : more[i].iov_len;
        queue_put(q, (const uint8_t *)more[i].iov_base + skip, more[i].iov_len - skip);
        sent -= skip;
    }
}

enum queue_result queue_send(struct mux_queue *q, int fd, const struct iovec *more, int count) {
    struct iovec iov[2 + QUEUE_SLICES];
    CHECK(count <= QUEUE_SLICES);
    int n = pieces(q, iov);
    if (count > 0)
        memcpy(iov + n, more, (size_t)count * sizeof *more);
    n += count;
    if (n == 0)
        return QUEUE_EMPTY;
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)n};
    ssize_t sent;
    do
        sent = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && errno != EAGAIN)
        return QUEUE_FAILED;
    size_t left = sent < 0 ? 0 : (size_t)sent;
    size_t old = left < q->used ? left : q->used;
    drop(q, old);
    put_rest(q, more, count, left - old);
    /* A stream socket that took a part is full: asking again would only be told EAGAIN. */
    return q->used == 0 ? QUEUE_EMPTY : QUEUE_BLOCKED;
}
