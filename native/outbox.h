/* What C has to tell Python: a bounded queue of msgpack arrays with an eventfd, pulled, never pushed. */
#pragma once

#include "fault.h"
#include "span.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define OUTBOX_MESSAGE 4096 /* octets of one message at most */

struct outbox;

/* `limit`: octets in all; when full, new messages are counted and lost. */
struct outbox *outbox_new(size_t limit, struct fault *f);
void outbox_free(struct outbox *o);
int outbox_fd(const struct outbox *o); /* readable while something waits */

/* On the loop's thread: `pen_on` a buffer of OUTBOX_MESSAGE, write one msgpack array, post it. */
void outbox_post(struct outbox *o, const void *message, size_t n);

/* On any thread: one message into `buf` (of at least OUTBOX_MESSAGE octets); its length, 0 when there is none. Waits for
 * nothing but another post or pull. */
size_t outbox_pull(struct outbox *o, void *buf, size_t capacity);
uint64_t outbox_lost(struct outbox *o);
