/* What a link has not yet sent: a ring of octets in front of a stream socket. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define QUEUE_CAPACITY (4u * 1024 * 1024) /* a power of two; mux.c says why so much */
#define QUEUE_SLICES   60 /* pieces of payload that queue_send takes at once, at most */

struct mux_queue {
    uint8_t *ring;
    size_t head; /* where the oldest octet is */
    size_t used;
};

enum queue_result { QUEUE_EMPTY, QUEUE_BLOCKED, QUEUE_FAILED /* errno */ };

bool queue_init(
    struct mux_queue *q); /* false: no memory. Pages are the kernel's until they are used */
void queue_free(struct mux_queue *q);
bool queue_fits(const struct mux_queue *q, size_t n);
void queue_put(struct mux_queue *q, const void *p, size_t n); /* it fits, or CHECK fails */

/* Sends what waits, then `more` (at most QUEUE_SLICES pieces, which together fit); what the socket does not take of them
 * is put into the ring. */
enum queue_result queue_send(struct mux_queue *q, int fd, const struct iovec *more, int count);
