#include "layer/files/runs_table.h"

#include <stdlib.h>

/* --- pieces ------------------------------------------------------------------------------------------------------------- */

void run_drop_first(struct runs *r, struct run *run) {
    struct piece *p = run->first;
    if (!(run->first = p->next))
        run->last = &run->first;
    r->octets -= FILES_IO;
    if (p->content)
        content_drop(p->content);
    free(p);
}

enum runs_result run_gather(const struct run *run, uint64_t offset, uint32_t size,
                            struct runs_answer *out) {
    out->count = 0;
    for (const struct piece *p = run->first; p && size > 0; p = p->next) {
        if (offset >= p->offset + FILES_IO)
            continue;
        if (offset < p->offset)
            return RUNS_NOT;
        if (!p->content)
            return RUNS_WAITS;
        uint32_t from = (uint32_t)(offset - p->offset), len = content_len(p->content);
        uint32_t take = from >= len ? 0 : size < len - from ? size : len - from;
        if (take > 0 && out->count == ANSWER_PARTS)
            return RUNS_NOT;
        if (take > 0)
            out->parts[out->count++] = (struct part){p->content, from, take};
        size -= take;
        offset += take;
        if (piece_is_short(
                p)) /* the kernel asks for whole pages, the last one beyond the file's end */
            return out->count > 0 && size < PAGE ? RUNS_HERE : RUNS_NOT;
    }
    return size == 0 ? RUNS_HERE : RUNS_NOT;
}

void run_cut_off(struct runs *r, struct run *run, const struct piece *p) {
    struct piece **at = &run->first;
    while (*at != p)
        at = &(*at)->next;
    run->last = at;
    run->end = p->offset;
    for (struct piece *gone = *at, *next; gone; gone = next) {
        next = gone->next;
        r->octets -= FILES_IO;
        if (gone->content)
            content_drop(gone->content);
        free(gone);
    }
    *at = NULL;
    run->over = true;
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

void run_end(struct runs *r, struct run **at) {
    struct run *run = *at;
    run->stale = true;
    if (run->waiting.first)
        return;
    *at = run->next;
    r->count--;
    while (run->first)
        run_drop_first(r, run);
    free(run);
}

struct run *run_find(struct runs *r, uint64_t handle) {
    for (struct run **at = &r->all; *at; at = &(*at)->next) {
        struct run *run = *at;
        if (run->handle != handle || run->stale)
            continue;
        *at = run->next;
        run->next = r->all;
        return r->all = run;
    }
    return NULL;
}

struct run *run_make(struct runs *r, uint64_t node, uint64_t handle) {
    if (r->count >= RUNS_MAX) {
        struct run **at = &r->all;
        while (*at && (*at)->next)
            at = &(*at)->next;
        if (*at)
            run_end(r, at);
    }
    struct run *run = r->count < RUNS_MAX ? calloc(1, sizeof *run) : NULL;
    if (!run)
        return NULL;
    *run = (struct run){.node = node, .handle = handle, .window = RUNS_FIRST, .next = r->all};
    run->last = &run->first;
    messages_init(&run->waiting);
    r->count++;
    return r->all = run;
}

struct run **run_with_piece(struct runs *r, uint64_t unique, struct piece **piece) {
    for (struct run **at = &r->all; *at; at = &(*at)->next)
        for (struct piece *p = (*at)->first; p; p = p->next)
            if (p->unique == unique) {
                *piece = p;
                return at;
            }
    return NULL;
}
