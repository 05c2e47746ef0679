#include "layer/files/ahead.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FRESH 1000000000ull /* ns */

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void ahead_init(struct ahead *a) {
    *a = (struct ahead){.all = NULL};
    pthread_mutex_init(&a->lock, NULL);
}

static void take_out(struct ahead *a, struct ahead_answer **at) {
    struct ahead_answer *one = *at;
    *at = one->next;
    a->reads -= one->opcode == FUSE_READ;
}

void ahead_clear(struct ahead *a) {
    pthread_mutex_lock(&a->lock);
    while (a->all) {
        struct ahead_answer *one = a->all;
        take_out(a, &a->all);
        free(one);
    }
    pthread_mutex_unlock(&a->lock);
}

/* --- coming ------------------------------------------------------------------------------------------------------------- */

/* The list's newest are first: from `keep` contents on, and what is not fresh, they go. */
static void thin(struct ahead *a, uint32_t keep) {
    uint64_t t = now();
    uint32_t seen = 0;
    for (struct ahead_answer **at = &a->all; *at;) {
        struct ahead_answer *one = *at;
        if (one->opcode == FUSE_READ && (t - one->at > FRESH || seen++ >= keep)) {
            take_out(a, at);
            free(one);
        } else {
            at = &one->next;
        }
    }
}

static struct ahead_answer *copy(const struct files_record *r, const uint8_t *octets) {
    struct ahead_answer *one = malloc(sizeof *one + r->name_len + r->len);
    if (!one)
        return NULL;
    *one = (struct ahead_answer){.node = r->node,
                                 .at = now(),
                                 .opcode = r->opcode,
                                 .error = r->error,
                                 .name_len = r->name_len,
                                 .len = r->len};
    memcpy(one->octets, octets, r->name_len + r->len);
    return one;
}

static bool sound(const struct files_record *r, size_t left) {
    if (r->name_len > left || r->len > left - r->name_len || r->error > 0 || r->error < -4095)
        return false;
    switch (r->opcode) {
    case FUSE_LOOKUP:
        return r->error || r->len == sizeof(struct fuse_entry_out);
    case FUSE_OPEN:
    case FUSE_OPENDIR:
        return r->name_len == 0 && (r->error || r->len == sizeof(struct fuse_open_out));
    case FUSE_READLINK:
    case FUSE_READ:
    case FUSE_READDIRPLUS:
        return r->name_len == 0;
    default:
        return false;
    }
}

void ahead_add(struct ahead *a, uint64_t walk, const uint8_t *p, size_t n) {
    struct files_record r;
    pthread_mutex_lock(&a->lock);
    thin(a, AHEAD_READS - 1);
    while (n >= sizeof r) {
        memcpy(&r, p, sizeof r);
        size_t left = n - sizeof r;
        if (!sound(&r, left))
            break;
        struct ahead_answer *one = copy(&r, p + sizeof r);
        if (!one)
            break;
        one->walk = walk;
        one->next = a->all;
        a->all = one;
        a->reads += r.opcode == FUSE_READ;
        size_t whole = (sizeof r + r.name_len + r.len + 7) & ~(size_t)7;
        whole = whole < n ? whole : n;
        p += whole;
        n -= whole;
    }
    pthread_mutex_unlock(&a->lock);
}

/* --- asked for ---------------------------------------------------------------------------------------------------------- */

static bool is_name(const struct ahead_answer *one, const struct message *m) {
    size_t n = m->len - sizeof(struct fuse_in_header);
    const uint8_t *name = m->data + sizeof(struct fuse_in_header);
    return n == one->name_len + 1u && memcmp(name, one->octets, one->name_len) == 0;
}

/* The piece of the content that is asked for, as far as it is known: up to its end, if that came too. */
static bool is_piece(const struct ahead_answer *one, const struct message *m, uint32_t *from,
                     uint32_t *len) {
    const struct fuse_read_in *in = (const void *)(m->data + sizeof(struct fuse_in_header));
    if (m->len < sizeof(struct fuse_in_header) + sizeof *in || one->error ||
        now() - one->at > FRESH)
        return false;
    bool whole = one->len < FILES_AHEAD;
    if (in->offset > one->len || (!whole && in->size > one->len - in->offset))
        return false;
    *from = (uint32_t)in->offset;
    *len = in->size < one->len - *from ? in->size : one->len - *from;
    return true;
}

static bool is_it(const struct ahead_answer *one, const struct message *m, uint32_t *from,
                  uint32_t *len) {
    const struct fuse_in_header *head = (const void *)m->data;
    const struct fuse_open_in *open = (const void *)(head + 1);
    *from = one->name_len;
    *len = one->len;
    if (one->opcode != head->opcode || one->node != head->nodeid)
        return false;
    switch (head->opcode) {
    case FUSE_LOOKUP:
        return is_name(one, m);
    case FUSE_READLINK:
    case FUSE_OPENDIR:
        return true;
    case FUSE_OPEN:
        return m->len >= sizeof *head + sizeof *open && (open->flags & 3) == 0 &&
               !(open->flags & 01000); /* O_RDONLY, no O_TRUNC */
    case FUSE_READ:
        return is_piece(one, m, from, len);
    default:
        return false;
    }
}

static struct message *cut_out(const struct ahead_answer *one, const struct fuse_in_header *head,
                               uint32_t from, uint32_t len) {
    if (one->error)
        len = 0;
    struct message *m = message_new(sizeof(struct fuse_out_header) + len);
    if (!m)
        return NULL;
    *(struct fuse_out_header *)m->data =
        (struct fuse_out_header){.len = m->len, .error = one->error, .unique = head->unique};
    memcpy(m->data + sizeof(struct fuse_out_header), one->octets + from, len);
    return m;
}

struct message *ahead_answer(struct ahead *a, const struct message *request) {
    struct message *m = NULL;
    uint32_t from, len;
    pthread_mutex_lock(&a->lock);
    for (struct ahead_answer **at = &a->all; *at; at = &(*at)->next) {
        struct ahead_answer *one = *at;
        if (!is_it(one, request, &from, &len))
            continue;
        m = cut_out(one, (const void *)request->data, from, len);
        if (m && one->opcode != FUSE_READ) { /* content may be asked for in pieces */
            take_out(a, at);
            free(one);
        }
        break;
    }
    pthread_mutex_unlock(&a->lock);
    return m;
}

struct message *ahead_page(struct ahead *a, uint64_t node) {
    const struct fuse_in_header request = {.opcode = FUSE_READDIRPLUS, .nodeid = node};
    struct message *m = NULL;
    pthread_mutex_lock(&a->lock);
    struct ahead_answer **at = &a->all;
    while (*at && ((*at)->opcode != FUSE_READDIRPLUS || (*at)->node != node))
        at = &(*at)->next;
    struct ahead_answer *one = *at;
    if (one && !one->error && (m = cut_out(one, &request, 0, one->len))) {
        take_out(a, at);
        free(one);
    }
    pthread_mutex_unlock(&a->lock);
    return m;
}

/* Locked: where the list has it, or its end. */
static struct ahead_answer **content_of(struct ahead *a, uint64_t walk) {
    struct ahead_answer **at = &a->all;
    while (*at && ((*at)->walk != walk || (*at)->opcode != FUSE_READ || (*at)->error ||
                   (*at)->len == 0 || (*at)->len >= FILES_AHEAD))
        at = &(*at)->next;
    return at;
}

uint64_t ahead_content(struct ahead *a, uint64_t walk) {
    pthread_mutex_lock(&a->lock);
    const struct ahead_answer *one = *content_of(a, walk);
    uint64_t node = one ? one->node : 0;
    pthread_mutex_unlock(&a->lock);
    return node;
}

struct ahead_answer *ahead_take_content(struct ahead *a, uint64_t walk) {
    pthread_mutex_lock(&a->lock);
    struct ahead_answer **at = content_of(a, walk), *one = *at;
    if (one)
        take_out(a, at);
    pthread_mutex_unlock(&a->lock);
    return one;
}

void ahead_stale(struct ahead *a, uint64_t node) {
    pthread_mutex_lock(&a->lock);
    for (struct ahead_answer **at = &a->all; *at;) {
        struct ahead_answer *one = *at;
        if (one->opcode == FUSE_READ && one->node == node) {
            take_out(a, at);
            free(one);
        } else {
            at = &one->next;
        }
    }
    pthread_mutex_unlock(&a->lock);
}

void ahead_drop(struct ahead *a, uint64_t walk,
                void (*give_back)(void *ctx, const struct ahead_answer *one), void *ctx) {
    struct ahead_answer *gone = NULL;
    pthread_mutex_lock(&a->lock);
    for (struct ahead_answer **at = &a->all; *at;) {
        struct ahead_answer *one = *at;
        if (one->walk != walk || one->opcode == FUSE_READ) {
            at = &one->next;
            continue;
        }
        take_out(a, at);
        one->next = gone;
        gone = one;
    }
    pthread_mutex_unlock(&a->lock);
    while (gone) {
        struct ahead_answer *one = gone;
        gone = one->next;
        if (one->error == 0)
            give_back(ctx, one);
        free(one);
    }
}
