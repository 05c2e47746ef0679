#include "layer/files/pages.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRESH 1000000000ull /* ns */
#define HEAD  sizeof(struct fuse_out_header)

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void pages_init(struct pages *p, void (*forget)(struct pages *p, uint64_t node)) {
    *p = (struct pages){.forget = forget};
    pthread_mutex_init(&p->lock, NULL);
}

/* --- entries ------------------------------------------------------------------------------------------------------------ */

struct entry {
    size_t whole; /* octets */
    uint64_t node, next;
};

/* The entry at `p`; false: there is none, or what is there is none. */
static bool entry_at(const uint8_t *p, size_t left, bool plus, struct entry *e) {
    size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
    struct fuse_dirent d;
    if (left < head + FUSE_NAME_OFFSET)
        return false;
    memcpy(&d, p + head, FUSE_NAME_OFFSET);
    if (d.namelen > 1024)
        return false;
    e->whole = (head + FUSE_NAME_OFFSET + d.namelen + 7) & ~(size_t)7;
    if (e->whole > left)
        return false;
    e->next = d.off;
    e->node = 0;
    if (plus)
        memcpy(&e->node, p, sizeof e->node);
    return true;
}

void pages_forget(struct pages *p, const uint8_t *octets, uint32_t n) {
    struct entry e;
    for (; entry_at(octets, n, true, &e); octets += e.whole, n -= (uint32_t)e.whole)
        if (e.node)
            p->forget(p, e.node);
}

static void drop(struct pages *p, struct page *page) {
    if (page->plus)
        pages_forget(p, page->rest->data + page->from, page->rest->len - page->from);
    free(page->rest);
    page->rest = NULL;
}

void pages_clear(struct pages *p) {
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < PAGES_MAX; i++) {
        free(p->all[i].rest);
        p->all[i].rest = NULL;
    }
    pthread_mutex_unlock(&p->lock);
}

static struct page *page_of(struct pages *p, uint64_t handle) {
    for (int i = 0; i < PAGES_MAX; i++)
        if (p->all[i].rest && p->all[i].handle == handle)
            return &p->all[i];
    return NULL;
}

/* A place for another: a free one, or one whose entries nobody may be given any more. */
static struct page *place(struct pages *p) {
    for (int i = 0; i < PAGES_MAX; i++) {
        if (p->all[i].rest && now() - p->all[i].at > FRESH)
            drop(p, &p->all[i]);
        if (!p->all[i].rest)
            return &p->all[i];
    }
    return NULL;
}

void pages_released(struct pages *p, uint64_t handle) {
    pthread_mutex_lock(&p->lock);
    struct page *page = page_of(p, handle);
    if (page)
        drop(p, page);
    pthread_mutex_unlock(&p->lock);
}

/* --- cutting ------------------------------------------------------------------------------------------------------------ */

/* The entry as it is asked for. Its octets. */
static uint32_t put(struct pages *p, uint8_t *to, const uint8_t *from, const struct entry *e,
                    bool strip) {
    size_t head = strip ? sizeof(struct fuse_entry_out) : 0, n = e->whole - head;
    memcpy(to, from + head, n);
    if (strip && e->node)
        p->forget(p, e->node);
    return (uint32_t)n;
}

/* Whole entries from `page` into an answer of `size` octets. */
static struct message *cut(struct pages *p, struct page *page, uint64_t unique, uint32_t size,
                           bool plus) {
    struct message *m = message_new(HEAD + size);
    struct entry e;
    uint32_t n = 0;
    bool strip = page->plus && !plus;
    if (!m)
        return NULL;
    while (entry_at(page->rest->data + page->from, page->rest->len - page->from, page->plus, &e) &&
           n + e.whole <= size) {
        n += put(p, m->data + HEAD + n, page->rest->data + page->from, &e, strip);
        page->from += (uint32_t)e.whole;
        page->offset = e.next;
    }
    m->len = (uint32_t)HEAD + n;
    *(struct fuse_out_header *)m->data = (struct fuse_out_header){.len = m->len, .unique = unique};
    return m;
}

static bool is_used_up(const struct page *page) {
    return page->from == page->rest->len;
}

/* The rest of it, or that there is none, for who goes on where it was left. Entries without attributes are none for READDIRPLUS. */
static bool goes_on(const struct page *page, const struct fuse_read_in *in, bool plus) {
    return page->offset == in->offset && now() - page->at <= FRESH &&
           (page->plus || !plus || is_used_up(page));
}

struct message *pages_answer(struct pages *p, struct message *request, uint32_t *size) {
    struct fuse_in_header *head = (void *)request->data;
    struct fuse_read_in *in = (void *)(head + 1);
    struct message *m = NULL;
    *size = 0;
    if (request->len < sizeof *head + sizeof *in)
        return NULL;
    bool plus = head->opcode == FUSE_READDIRPLUS;
    pthread_mutex_lock(&p->lock);
    struct page *page = page_of(p, in->fh);
    if (page && in->size <= FILES_IO && goes_on(page, in, plus))
        m = cut(p, page, head->unique, in->size, plus);
    if (page && (!m || (is_used_up(page) && !page->last)))
        drop(p, page);
    pthread_mutex_unlock(&p->lock);
    if (m)
        return m;
    *size = in->size;
    if (in->size < PAGES_PIECE)
        in->size = PAGES_PIECE;
    return NULL;
}

struct message *pages_cut(struct pages *p, struct message *answer, uint64_t handle, uint32_t size,
                          bool plus) {
    const struct fuse_out_header *head = (const void *)answer->data;
    bool last = answer->len - HEAD + PAGES_ENTRY < PAGES_PIECE;
    if (head->error || answer->len == HEAD || (answer->len <= HEAD + size && !last))
        return answer;
    uint64_t unique = head->unique;
    pthread_mutex_lock(&p->lock);
    struct page *page = page_of(p, handle), spare = {.plus = plus};
    if (page)
        drop(p, page);
    else
        page = place(p);
    struct page *to = page ? page : &spare;
    *to = (struct page){
        .rest = answer, .handle = handle, .at = now(), .from = HEAD, .plus = plus, .last = last};
    struct message *m = cut(p, to, unique, size, plus);
    if (!page)
        drop(p, &spare);
    pthread_mutex_unlock(&p->lock);
    return m;
}

void pages_keep(struct pages *p, struct message *answer, uint64_t handle, uint32_t size) {
    pthread_mutex_lock(&p->lock);
    struct page *page = page_of(p, handle), spare;
    if (page)
        drop(p, page);
    else
        page = place(p);
    struct page *to = page ? page : &spare;
    *to = (struct page){.rest = answer,
                        .handle = handle,
                        .at = now(),
                        .from = HEAD,
                        .plus = true,
                        .last = answer->len - HEAD + PAGES_ENTRY < size};
    if (!page)
        drop(p, to);
    pthread_mutex_unlock(&p->lock);
}
