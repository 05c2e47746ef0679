/* Invariant: whatever the kernel reads, whatever becomes of what was asked ahead of it, a READ is answered once, or given back once,
 * with no more than it asked for; its octets are those of the file at its offset; and all memory is given back.
 *
 * The input: a sequence of deeds, three octets each: which, of what, where.
 *
 * Sources: native layer/files/runs.c layer/files/runs_table.c layer/files/answers.c
 */
#include "layer/files/runs.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { MOST = 64, HANDLES = 4, STEP = 64 * 1024 };

struct known {
    struct runs runs;
    struct spares spares;
    uint64_t own;
    struct message *wishes[MOST]; /* asked of the agent and not answered */
    uint32_t sizes[MOST];         /* of READs that wait, by their number; 0: it does not */
    uint64_t offsets[MOST];
    uint64_t last;
};

/* The file's octet at every offset. */
static uint8_t octet(uint64_t offset) {
    return (uint8_t)(offset / STEP * 7 + offset % 251);
}

static struct message *wish(struct runs *r, uint64_t node, const struct fuse_read_in *in) {
    struct known *k = container_of(r, struct known, runs);
    struct message *m = message_new(sizeof(struct fuse_in_header) + sizeof *in);
    struct fuse_in_header *head = (void *)m->data;
    *head = (struct fuse_in_header){.len = m->len, .unique = k->own += 2, .nodeid = node};
    memcpy(head + 1, in, sizeof *in);
    return m;
}

static void gone(struct known *k, uint64_t unique) {
    if (unique >= MOST || k->sizes[unique] == 0)
        abort(); /* never asked, or answered before */
    k->sizes[unique] = 0;
}

static void check(struct known *k, const struct runs_answer *a) {
    uint64_t at = a->unique < MOST ? k->offsets[a->unique] : 0;
    uint32_t made = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        const struct part *p = &a->parts[i];
        const uint8_t *octets = p->content->answer->data + sizeof(struct fuse_out_header);
        if (p->len == 0 || p->from + p->len > content_len(p->content))
            abort();
        if (octets[p->from] != octet(at) || octets[p->from + p->len - 1] != octet(at + p->len - 1))
            abort();
        at += p->len;
        made += p->len;
        content_drop(p->content);
    }
    if (a->unique >= MOST || made > k->sizes[a->unique])
        abort();
    gone(k, a->unique);
}

static void back(struct known *k, struct messages *q) {
    for (struct message *m; (m = messages_take(q)); free(m))
        gone(k, ((struct fuse_in_header *)(void *)m->data)->unique);
}

static void keep(struct known *k, struct messages *wishes) {
    struct messages none;
    messages_init(&none);
    for (struct message *m; (m = messages_take(wishes));) {
        uint32_t i = 0;
        while (i < MOST && k->wishes[i])
            i++;
        if (i < MOST) {
            k->wishes[i] = m;
            continue;
        }
        runs_came(&k->runs, ((struct fuse_in_header *)(void *)m->data)->unique, NULL, &none);
        free(m);
    }
    back(k, &none);
}

static void ask(struct known *k, uint8_t of, uint8_t where) {
    struct fuse_read_in in = {.fh = 1 + of % HANDLES,
                              .offset = (uint64_t)where * STEP,
                              .size = STEP * (1 + of / HANDLES % 4)};
    struct runs_answer answer;
    struct messages wishes;
    uint64_t unique = k->last++ % MOST;
    if (k->sizes[unique])
        return;
    struct message *m = message_new(sizeof(struct fuse_in_header) + sizeof in);
    struct fuse_in_header *head = (void *)m->data;
    *head = (struct fuse_in_header){.len = m->len, .unique = unique, .nodeid = in.fh};
    memcpy(head + 1, &in, sizeof in);
    messages_init(&wishes);
    k->sizes[unique] = in.size;
    k->offsets[unique] = in.offset;
    enum runs_result result = runs_ask(&k->runs, m, &answer, &wishes);
    if (result == RUNS_HERE)
        check(k, &answer);
    else if (result == RUNS_NOT)
        k->sizes[unique] = 0;
    if (result != RUNS_WAITS)
        free(m);
    keep(k, &wishes);
}

/* The agent answers a wish: whole, short, or not. */
static void answer(struct known *k, uint8_t which, uint8_t how) {
    struct message *w = k->wishes[which % MOST];
    if (!w)
        return;
    k->wishes[which % MOST] = NULL;
    const struct fuse_in_header *head = (const void *)w->data;
    const struct fuse_read_in *in = (const void *)(head + 1);
    uint32_t len = how % 8 == 1 ? 1000u * how : how % 8 == 2 ? 0 : in->size;
    struct message *m = NULL;
    if (how % 8 != 3)
        m = spares_take(&k->spares, sizeof(struct fuse_out_header) + len);
    if (m) {
        uint8_t *octets = m->data + sizeof(struct fuse_out_header);
        *(struct fuse_out_header *)m->data =
            (struct fuse_out_header){.len = m->len, .error = how % 8 == 4 ? -5 : 0};
        for (uint32_t i = 0, end; i < len; i = end) { /* where parts may begin and end */
            end = len - i < STEP ? len : i + STEP;
            octets[i] = octet(in->offset + i);
            octets[end - 1] = octet(in->offset + end - 1);
        }
    }
    struct messages given;
    struct runs_answer a;
    messages_init(&given);
    runs_came(&k->runs, head->unique, m, &given);
    free(w);
    back(k, &given);
    while (runs_next(&k->runs, &a))
        check(k, &a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct known k = {.own = 1u << 20, .last = 1};
    struct messages waiting;
    messages_init(&waiting);
    spares_init(&k.spares);
    runs_init(&k.runs, &k.spares, wish);
    for (size_t i = 0; i + 3 <= n; i += 3) {
        struct message *m = NULL;
        switch (p[i] % 8) {
        case 0:
            runs_stale(&k.runs, 1 + p[i + 1] % HANDLES);
            break;
        case 1:
            runs_released(&k.runs, 1 + p[i + 1] % HANDLES);
            break;
        case 2:
            if ((m = runs_take_back(&k.runs, p[i + 1] % MOST)))
                gone(&k, p[i + 1] % MOST);
            free(m);
            break;
        case 3:
        case 4:
            answer(&k, p[i + 1], p[i + 2]);
            break;
        default:
            ask(&k, p[i + 1], p[i + 2]);
        }
    }
    runs_clear(&k.runs, &waiting);
    back(&k, &waiting);
    for (uint32_t i = 0; i < MOST; i++) {
        if (k.sizes[i])
            abort(); /* nobody answered it */
        free(k.wishes[i]);
    }
    spares_clear(&k.spares);
    return 0;
}
