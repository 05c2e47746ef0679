#include "layer/files/runs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRESH 1000000000ull /* ns */
#define PAGE  4096u

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

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static const struct fuse_in_header *head_of(const struct message *m) {
    return (const void *)m->data;
}

static const struct fuse_read_in *body_of(const struct message *m) {
    return (const void *)(head_of(m) + 1);
}

void runs_init(struct runs *r, struct spares *spares,
               struct message *(*read)(struct runs *r, uint64_t node,
                                       const struct fuse_read_in *in)) {
    *r = (struct runs){.spares = spares, .read = read, .least = UINT64_MAX / 4};
    pthread_mutex_init(&r->lock, NULL);
}

/* --- pieces ------------------------------------------------------------------------------------------------------------- */

static void drop_first(struct runs *r, struct run *run) {
    struct piece *p = run->first;
    if (!(run->first = p->next))
        run->last = &run->first;
    r->octets -= FILES_IO;
    if (p->content)
        content_drop(p->content);
    free(p);
}

static bool is_short(const struct piece *p) {
    return content_len(p->content) < FILES_IO;
}

/* What of `size` octets at `offset` the pieces have: RUNS_HERE and the parts; RUNS_WAITS: some are on their way; RUNS_NOT. */
static enum runs_result gather(const struct run *run, uint64_t offset, uint32_t size,
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
        if (is_short(p)) /* the kernel asks for whole pages, the last one beyond the file's end */
            return out->count > 0 && size < PAGE ? RUNS_HERE : RUNS_NOT;
    }
    return size == 0 ? RUNS_HERE : RUNS_NOT;
}

static void use(struct runs_answer *a) {
    for (uint32_t i = 0; i < a->count; i++)
        atomic_fetch_add(&a->parts[i].content->uses, 1);
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

/* Out of the table; as long as READs wait, when they have been answered. */
static void end_run(struct runs *r, struct run **at) {
    struct run *run = *at;
    run->stale = true;
    if (run->waiting.first)
        return;
    *at = run->next;
    r->count--;
    while (run->first)
        drop_first(r, run);
    free(run);
}

/* The handle's, moved to the front; NULL. */
static struct run *find(struct runs *r, uint64_t handle) {
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

static struct run *make(struct runs *r, uint64_t node, uint64_t handle) {
    if (r->count >= RUNS_MAX) {
        struct run **at = &r->all;
        while (*at && (*at)->next)
            at = &(*at)->next;
        if (*at)
            end_run(r, at);
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

/* The run with the piece of this number. */
static struct run **with_piece(struct runs *r, uint64_t unique, struct piece **piece) {
    for (struct run **at = &r->all; *at; at = &(*at)->next)
        for (struct piece *p = (*at)->first; p; p = p->next)
            if (p->unique == unique) {
                *piece = p;
                return at;
            }
    return NULL;
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
        drop_first(r, run);
    if (oldest || !run->first || !run->first->content || now() - run->first->at <= FRESH)
        return;
    run->window = run->window / 2 > RUNS_FIRST ? run->window / 2 : RUNS_FIRST;
    while (run->first && run->first->content)
        drop_first(r, run);
}

static enum runs_result follow(struct runs *r, struct run *run, struct message *request,
                               struct runs_answer *answer) {
    const struct fuse_read_in *in = body_of(request);
    drop_old(r, run, in->offset);
    enum runs_result result = gather(run, in->offset, in->size, answer);
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
    struct run *run = find(r, in->fh);
    bool follows = run ? run->expected == in->offset : in->offset == 0;
    if (run && !follows) {
        end_run(r, &r->all); /* find has put it there */
        run = NULL;
    }
    if (!run)
        run = make(r, head_of(request)->nodeid, in->fh);
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

/* Its pieces from `p` on are none. */
static void cut_off(struct runs *r, struct run *run, const struct piece *p) {
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

static void arrived(struct runs *r, struct run *run, struct piece *p, struct content *content) {
    uint64_t t = now();
    run->took = t - p->at;
    r->least = run->took < r->least ? run->took : r->least + r->least / 256;
    p->content = content;
    p->at = t;
    run->over = run->over || is_short(p);
}

/* READs that wait for nothing any more and cannot be answered. */
static void give_back(struct run *run, struct messages *back) {
    struct messages kept;
    struct runs_answer none;
    messages_init(&kept);
    for (struct message *m; (m = messages_take(&run->waiting));) {
        const struct fuse_read_in *in = body_of(m);
        bool lost = gather(run, in->offset, in->size, &none) == RUNS_NOT;
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
    struct run **at = with_piece(r, unique, &p);
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
        cut_off(r, run, p);
    }
    give_back(run, back);
    if (run->stale)
        end_run(r, at);
    pthread_mutex_unlock(&r->lock);
}

bool runs_next(struct runs *r, struct runs_answer *answer) {
    bool found = false;
    pthread_mutex_lock(&r->lock);
    for (struct run **at = &r->all; *at && !found; at = &(*at)->next) {
        struct run *run = *at;
        struct message *m = run->waiting.first;
        const struct fuse_read_in *in = m ? body_of(m) : NULL;
        if (!m || gather(run, in->offset, in->size, answer) != RUNS_HERE)
            continue;
        found = true;
        use(answer);
        answer->unique = head_of(m)->unique;
        free(messages_take(&run->waiting));
        if (run->stale) {
            end_run(r, at);
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
            end_run(r, at);
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
        end_run(r, &r->all);
    }
    pthread_mutex_unlock(&r->lock);
}
