/* Runs as their two files see them: runs.c, what is asked ahead and who waits for it, and runs_table.c, which runs there are and what
 * their pieces have. Everything here is called with the lock held. */
#pragma once

#include "layer/files/runs.h"

#define PAGE 4096u

struct piece {
    struct piece *next;
    uint64_t offset, unique;
    uint64_t at;             /* ns: when it was asked for; when it came */
    struct content *content; /* NULL: it is on its way */
};

struct run {
    struct run *next;
    uint64_t node, handle;
    uint64_t expected; /* where the next READ begins if it follows */
    uint64_t end;      /* of the pieces, which follow each other */
    uint64_t took;     /* ns: the piece that came last */
    uint32_t window;
    bool over;  /* the file's end has come, or an error: no more is asked for */
    bool stale; /* no more is given; READs still wait */
    struct piece *first, **last;
    struct messages waiting; /* the kernel's READs */
};

static inline const struct fuse_in_header *head_of(const struct message *m) {
    return (const void *)m->data;
}

static inline const struct fuse_read_in *body_of(const struct message *m) {
    return (const void *)(head_of(m) + 1);
}

static inline bool piece_is_short(const struct piece *p) {
    return content_len(p->content) < FILES_IO;
}

/* --- a run's pieces --- */

void run_drop_first(struct runs *r, struct run *run);
/* Its pieces from `p` on are none, and there will be no more. */
void run_cut_off(struct runs *r, struct run *run, const struct piece *p);
/* What of `size` octets at `offset` the pieces have: RUNS_HERE and the parts; RUNS_WAITS: some are on their way; RUNS_NOT. */
enum runs_result run_gather(const struct run *run, uint64_t offset, uint32_t size,
                            struct runs_answer *out);

/* --- the table --- */

/* Out of the table; as long as READs wait, when they have been answered. */
void run_end(struct runs *r, struct run **at);
/* The handle's, moved to the front; NULL. */
struct run *run_find(struct runs *r, uint64_t handle);
/* In front; NULL: no memory, or the one used last of many still has who waits. */
struct run *run_make(struct runs *r, uint64_t node, uint64_t handle);
/* The run with the piece of this number. */
struct run **run_with_piece(struct runs *r, uint64_t unique, struct piece **piece);
