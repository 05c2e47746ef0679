/* Large messages, used again: an allocator gives their pages back and takes zeroed ones for the next, which costs as much as
 * filling them does (seen: 45 us for 256 KiB). The one given last is taken first: it may still be in the processor's cache.
 *
 * SPARES_MOST are kept, until the end of who uses them. Any thread. */
#pragma once

#include "stream.h"

#include <pthread.h>

#define SPARES_MOST  16
#define SPARES_LEAST (64u * 1024)  /* octets of a message from which on it is large */
#define SPARES_ROOM  (272u * 1024) /* of each that is kept; larger ones are not */

struct spares {
    pthread_mutex_t lock;
    struct messages kept;
    uint32_t count;
};

void spares_init(struct spares *s);
void spares_clear(struct spares *s);

/* As message_new. */
struct message *spares_take(struct spares *s, size_t len);
/* Takes it: any message, of whatever maker. */
void spares_give(struct spares *s, struct message *m);
