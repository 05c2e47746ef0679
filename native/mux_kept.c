/* See mux_kept.h. Pieces are mapped, not allocated: they come and go by the hundred as a long way fills and drains, and an
 * allocator would keep most of what such a wave has left. A few are kept at hand, warm, so that a steady stream maps none. */
#include "mux_kept.h"

#include "fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

struct kept *kept_new(void) {
    return calloc(1, sizeof(struct kept));
}

static uint8_t **slot(struct kept *k, uint64_t octet) {
    return &k->slots[octet / KEPT_PIECE % KEPT_SLOTS];
}

/* --- pieces ----------------------------------------------------------------------------------------------------------- */

static uint8_t *take_piece(struct kept *k) {
    if (k->spares > 0)
        return k->spare[--k->spares];
    void *p = mmap(NULL, KEPT_PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void leave_piece(struct kept *k, uint8_t **place) {
    if (*place == NULL)
        return;
    if (k->spares < KEPT_SPARE)
        k->spare[k->spares++] = *place;
    else
        munmap(*place, KEPT_PIECE);
    *place = NULL;
}

void kept_trim(struct kept *k) {
    while (k->spares > 0)
        munmap(k->spare[--k->spares], KEPT_PIECE);
}

void kept_free(struct kept *k) {
    if (k == NULL)
        return;
    for (unsigned i = 0; i < KEPT_SLOTS; i++)
        leave_piece(k, &k->slots[i]);
    kept_trim(k);
    free(k);
}

/* --- octets ----------------------------------------------------------------------------------------------------------- */

size_t kept_held(const struct kept *k) {
    return (size_t)(k->end - k->acked);
}

size_t kept_unsent(const struct kept *k) {
    return (size_t)(k->end - k->sent);
}

static size_t within_piece(uint64_t octet, size_t n) {
    size_t left = KEPT_PIECE - (size_t)(octet % KEPT_PIECE);
    return n < left ? n : left;
}

static bool provide(struct kept *k, size_t n) {
    for (uint64_t at = k->end, end = k->end + n; at < end; at += within_piece(at, KEPT_PIECE)) {
        uint8_t **place = slot(k, at);
        if (*place == NULL && (*place = take_piece(k)) == NULL)
            return false;
    }
    return true;
}

bool kept_put(struct kept *k, const void *p, size_t n) {
    CHECK(kept_held(k) + n <= KEPT_MAX);
    if (!provide(k, n)) /* pieces that did come are used by the next */
        return false;
    for (const uint8_t *from = p; n > 0;) {
        size_t part = within_piece(k->end, n);
        memcpy(*slot(k, k->end) + k->end % KEPT_PIECE, from, part);
        k->end += part;
        from += part;
        n -= part;
    }
    return true;
}

/* The octets from `sent` on, as far as `count` pieces reach. */
static int pieces(struct kept *k, struct iovec *out, int count, size_t *all) {
    int n = 0;
    *all = 0;
    for (uint64_t at = k->sent; at < k->end && n < count; n++) {
        size_t part = within_piece(at, (size_t)(k->end - at));
        out[n] = (struct iovec){*slot(k, at) + at % KEPT_PIECE, part};
        at += part;
        *all += part;
    }
    return n;
}

enum queue_result kept_send(struct kept *k, int fd) {
    struct iovec iov[QUEUE_SLICES];
    while (k->sent < k->end) {
        size_t all;
        struct msghdr message = {.msg_iov = iov};
        message.msg_iovlen = (size_t)pieces(k, iov, QUEUE_SLICES, &all);
        ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? QUEUE_BLOCKED : QUEUE_FAILED;
        k->sent += (uint64_t)n;
        if ((size_t)n < all)
            return QUEUE_BLOCKED;
    }
    return QUEUE_EMPTY;
}

static void forget(struct kept *k, uint64_t to) {
    while (k->acked < to) {
        uint64_t next = k->acked + within_piece(k->acked, (size_t)(to - k->acked));
        if (next % KEPT_PIECE == 0)
            leave_piece(k, slot(k, k->acked));
        k->acked = next;
    }
}

bool kept_ack(struct kept *k, uint64_t received) {
    if (received > k->sent)
        return false;
    forget(k, received);
    return true;
}

bool kept_rewind(struct kept *k, uint64_t received) {
    if (received < k->acked || received > k->sent)
        return false;
    forget(k, received);
    k->sent = received;
    return true;
}
