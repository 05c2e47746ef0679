/* Folders read by the large piece and given to the kernel by the small: it asks for 4 KiB at a time, 25 entries with their
 * attributes, and a round trip for each would make a folder of 10,000 take 400.
 *
 * The rest of a piece is kept for the handle that read it, for a second. Entries of READDIRPLUS that the kernel was not given
 * must be forgotten (FORGET) when they are dropped, or given without their attributes to READDIR, which is what the kernel goes
 * on with when nobody asked for those: each has been counted by the agent. A piece in which there was room for another entry was
 * the folder's last, and that there is no more needs no question. Any thread. */
#pragma once

#include "native/files_words.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define PAGES_PIECE (128u * 1024) /* what the agent is asked for */
#define PAGES_MAX   32            /* folders under way; those of others are read piece by piece */
#define PAGES_ENTRY 1024          /* octets of an entry, at most: its name has 255 */

struct page {
    struct message *rest; /* NULL: the place is free */
    uint64_t handle, offset, at;
    uint32_t from;   /* octets of `rest` that were given */
    bool plus, last; /* last: nothing follows it */
};

struct pages {
    pthread_mutex_t lock;
    struct page all[PAGES_MAX];
    void (*forget)(struct pages *p, uint64_t node); /* may be called with the lock held */
};

void pages_init(struct pages *p, void (*forget)(struct pages *p, uint64_t node));
void pages_clear(struct pages *p); /* without forgetting: there is nobody to tell */
/* The answer to a READDIR or READDIRPLUS, if it is here; else NULL, and the request asks for a large piece: *size is what the
 * kernel has room for. */
struct message *pages_answer(struct pages *p, struct message *request, uint32_t *size);
/* Takes the agent's answer to such a request: what of it the kernel gets, which is its answer. */
struct message *pages_cut(struct pages *p, struct message *answer, uint64_t handle, uint32_t size,
                          bool plus);
/* Takes a folder's first piece, of READDIRPLUS with room for `size` octets, that came with its handle. */
void pages_keep(struct pages *p, struct message *answer, uint64_t handle, uint32_t size);
/* Of entries that nobody will be given. */
void pages_forget(struct pages *p, const uint8_t *octets, uint32_t n);
void pages_released(struct pages *p, uint64_t handle);
