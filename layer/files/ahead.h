/* Answers that came before their questions: what a WALK brought, kept until the kernel asks.
 *
 * A name or an open that was told and is not asked for must be given back to the agent (FORGET, RELEASE): ahead_drop says of
 * a walk what is. Content is kept a second at most, which is as long as anything else may be gone by. Any thread. */
#pragma once

#include "native/files_words.h"
#include "native/stream.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define AHEAD_READS 64 /* small files whose content waits for its reader: 4 MiB */

struct ahead_answer {
    struct ahead_answer *next;
    uint64_t walk, node, at; /* at: ns, when it came */
    uint32_t opcode;
    int32_t error;
    uint32_t name_len, len;
    uint8_t octets[]; /* the name, the body */
};

struct ahead {
    pthread_mutex_t lock;
    struct ahead_answer *all;
    uint32_t reads;
};

void ahead_init(struct ahead *a);
void ahead_clear(struct ahead *a);
/* Of an answer to WALK, its header left off. What is no record ends it. */
void ahead_add(struct ahead *a, uint64_t walk, const uint8_t *p, size_t n);
/* The kernel's request, answered from what is here; NULL: it is not. */
struct message *ahead_answer(struct ahead *a, const struct message *request);
/* What came of a folder that is opened: the answer to its first READDIRPLUS; NULL. */
struct message *ahead_page(struct ahead *a, uint64_t node);
/* Whether the whole content of a small file came with this walk, and whose: its node, or 0. */
uint64_t ahead_content(struct ahead *a, uint64_t walk);
/* That, the caller's to free, and no more here; NULL: it is not here any more. */
struct ahead_answer *ahead_take_content(struct ahead *a, uint64_t walk);
/* The file has another content from now on. */
void ahead_stale(struct ahead *a, uint64_t node);
/* What this walk brought and nobody asked for, content aside: `give_back` for each. */
void ahead_drop(struct ahead *a, uint64_t walk,
                void (*give_back)(void *ctx, const struct ahead_answer *one), void *ctx);
