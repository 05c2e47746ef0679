#include "layer/files/runs_table.h"

#include <fcntl.h>
#include <stdlib.h>
#include <time.h>

#define FRESH 1000000000ull /* ns */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void runs_init(struct runs *r, struct spares *spares,
               struct message *(*read)(struct runs *r, uint64_t node,
                                       const struct fuse_read_in *in)) {
    *r = (struct runs){.spares = spares, .read = read, .least = UINT64_MAX / 4};
    pthread_mutex_init(&r->lock, NULL);
}

static void use(struct runs_answer *a) {
    for (uint32_t i = 0; i < a->count; i++)
        atomic_fetch_add(&a->parts[i].content->uses, 1);
}

/* --- the kernel's READs ------------------------------------------------------------------------------------------------- */

static bool add_piece(struct runs *r, struct run *run, struct messages *wishes) {
    struct fuse_read_in in = {.fh = run->handle, .offset = run->end, .size = FILES_IO};
    struct piece *p = calloc(1, sizeof *p);
    struct message *m = p ? r->read(r, run->node, &in) : NULL;
    if (!m) {
        free(p);
        return false;
    }
    *p = (struct piece){.offset = run->end, .unique = head_of(m)->unique, .at = now()};
    *run->last = p;
    run->last = &p->next;
    run->end += FILES_IO;
    r->octets += FILES_IO;
    messages_put(wishes, m);
    return true;
}

static void ask_ahead(struct runs *r, struct run *run, struct messages *wishes) {
    if (!run->first)
        run->end = run->expected;
    while (!run->over && run->end < run->expected + run->window &&
           r->octets + FILES_IO <= RUNS_ALL && add_piece(r, run, wishes))
        continue;
}

/* What is behind every READ, and what has been here for too long. */
static void drop_old(struct runs *r, struct run *run, uint64_t offset) {
    const struct message *oldest = run->waiting.first;
    uint64_t needed = oldest ? body_of(oldest)->offset : offset;
    while (run->first && run->first->offset + FILES_IO <= needed && run->first->content)
        run_drop_first(r, run);
    if (oldest || !run->first || !run->first->content || now() - run->first->at <= FRESH)
        return;
    run->window = run->window / 2 > RUNS_FIRST ? run->window / 2 : RUNS_FIRST;
    while (run->first && run->first->content)
        run_drop_first(r, run);
}

static enum runs_result follow(struct runs *r, struct run *run, struct message *request,
                               struct runs_answer *answer) {
    const struct fuse_read_in *in = body_of(request);
    drop_old(r, run, in->offset);
    enum runs_result result = run_gather(run, in->offset, in->size, answer);
    if (result == RUNS_HERE)
        use(answer);
    if (result != RUNS_WAITS)
        return result;
    if (run->took < 2 * r->least && run->window < RUNS_MOST)
        run->window *= 2;
    else if (run->took > 4 * r->least && run->window > RUNS_FIRST)
        run->window /= 2;
    messages_put(&run->waiting, request);
    return result;
}

enum runs_result runs_ask(struct runs *r, struct message *request, struct runs_answer *answer,
                          struct messages *wishes) {
    const struct fuse_read_in *in = body_of(request);
    enum runs_result result = RUNS_NOT;
    if (request->len < sizeof(struct fuse_in_header) + sizeof *in || in->flags & O_DIRECT)
        return result;
    answer->unique = head_of(request)->unique;
    pthread_mutex_lock(&r->lock);
    struct run *run = run_find(r, in->fh);
    bool follows = run ? run->expected == in->offset : in->offset == 0;
    if (run && !follows) {
        run_end(r, &r->all); /* find has put it there */
        run = NULL;
    }
    if (!run)
        run = run_make(r, head_of(request)->nodeid, in->fh);
    if (run) {
        run->expected = in->offset + in->size;
        if (follows && in->size >= RUNS_LEAST) {
            result = follow(r, run, request, answer);
            ask_ahead(r, run, wishes);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return result;
}

/* --- what comes --------------------------------------------------------------------------------------------------------- */

static void arrived(struct runs *r, struct run *run, struct piece *p, struct content *content) {
    uint64_t t = now();
    run->took = t - p->at;
    r->least = run->took < r->least ? run->took : r->least + r->least / 256;
    p->content = content;
    p->at = t;
    run->over = run->over || piece_is_short(p);
}

/* READs that wait for nothing any more and cannot be answered. */
static void give_back(struct run *run, struct messages *back) {
    struct messages kept;
    struct runs_answer none;
    messages_init(&kept);
    for (struct message *m; (m = messages_take(&run->waiting));) {
        const struct fuse_read_in *in = body_of(m);
        bool lost = run_gather(run, in->offset, in->size, &none) == RUNS_NOT;
        messages_put(lost ? back : &kept, m);
    }
    for (struct message *m; (m = messages_take(&kept));)
        messages_put(&run->waiting, m);
}

void runs_came(struct runs *r, uint64_t unique, struct message *answer, struct messages *back) {
    struct piece *p = NULL;
    struct content *content = NULL;
    if (answer && ((const struct fuse_out_header *)(const void *)answer->data)->error == 0)
        content = content_new(r->spares, answer);
    else
        free(answer);
    pthread_mutex_lock(&r->lock);
    struct run **at = run_with_piece(r, unique, &p);
    if (!at) {
        pthread_mutex_unlock(&r->lock);
        if (content)
            content_drop(content);
        return;
    }
    struct run *run = *at;
    if (content) {
        arrived(r, run, p, content);
    } else {
        run_cut_off(r, run, p);
    }
    give_back(run, back);
    if (run->stale)
        run_end(r, at);
    pthread_mutex_unlock(&r->lock);
}

bool runs_next(struct runs *r, struct runs_answer *answer) {
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (struct run **at = &r->all; *at && !found; at = &(*at)->next) {
        struct run *run = *at;
        struct message *m = run->waiting.first;
        const struct fuse_read_in *in = m ? body_of(m) : NULL;
        if (!m || run_gather(run, in->offset, in->size, answer) != RUNS_HERE)
            continue;
        found = true;
        use(answer);
        answer->unique = head_of(m)->unique;
        free(messages_take(&run->waiting));
        if (run->stale) {
            run_end(r, at);
            break;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* --- its end ------------------------------------------------------------------------------------------------------------ */

struct message *runs_take_back(struct runs *r, uint64_t unique) {
    struct message *found = NULL;
    pthread_mutex_lock(&r->lock);
    for (struct run *run = r->all; run && !found; run = run->next) {
        struct messages kept;
        messages_init(&kept);
        for (struct message *m; (m = messages_take(&run->waiting));)
            if (head_of(m)->unique == unique)
                found = m;
            else
                messages_put(&kept, m);
        for (struct message *m; (m = messages_take(&kept));)
            messages_put(&run->waiting, m);
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void end_those(struct runs *r, uint64_t node, uint64_t handle) {
    pthread_mutex_lock(&r->lock);
    for (struct run **at = &r->all; *at;) {
        struct run *run = *at;
        if (run->node == node || run->handle == handle)
            run_end(r, at);
        if (*at == run)
            at = &run->next;
    }
    pthread_mutex_unlock(&r->lock);
}

void runs_stale(struct runs *r, uint64_t node) {
    end_those(r, node, 0);
}

void runs_released(struct runs *r, uint64_t handle) {
    end_those(r, 0, handle);
}

void runs_clear(struct runs *r, struct messages *waiting) {
    pthread_mutex_lock(&r->lock);
    while (r->all) {
        struct run *run = r->all;
        for (struct message *m; (m = messages_take(&run->waiting));)
            messages_put(waiting, m);
        run_end(r, &r->all);
    }
    pthread_mutex_unlock(&r->lock);
}
