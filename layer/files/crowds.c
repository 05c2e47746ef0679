#include "layer/files/crowds.h"

#include <stdlib.h>
#include <string.h>

#define TOGETHER 1000000000ull /* ns between two questions of one crowd */
#define NEVER    4096u         /* questions, at most, until a listing is tried again */

void crowds_clear(struct crowds *c) {
    for (int i = 0; i < CROWDS_MOST; i++)
        free(c->all[i].folder);
    *c = (struct crowds){0};
}

static struct crowd *find(struct crowds *c, const char *folder, size_t len) {
    for (struct crowd *one = c->all; one < c->all + CROWDS_MOST; one++)
        if (one->folder && one->len == len && memcmp(one->folder, folder, len) == 0)
            return one;
    return NULL;
}

/* In the place of the one that was asked for longest ago. */
static struct crowd *make(struct crowds *c, const char *folder, size_t len) {
    struct crowd *oldest = c->all;
    for (struct crowd *one = c->all; one < c->all + CROWDS_MOST && oldest->folder; one++)
        if (!one->folder || one->last < oldest->last)
            oldest = one;
    char *copy = strndup(folder, len);
    if (!copy)
        return NULL;
    free(oldest->folder);
    *oldest = (struct crowd){.folder = copy, .len = len, .needed = CROWDS_FEW};
    return oldest;
}

/* What the last listing was good for. */
static void judge(struct crowd *one) {
    if (one->told == 0)
        return;
    bool useful = one->known >= one->told / CROWDS_USE;
    one->needed = useful ? CROWDS_FEW : one->needed < NEVER ? one->needed * 4 : NEVER;
    one->told = 0;
}

const struct crowd *crowds_missed(struct crowds *c, uint64_t now, const char *folder, size_t len) {
    struct crowd *one = find(c, folder, len);
    if (!one && !(one = make(c, folder, len)))
        return NULL;
    if (now - one->last > TOGETHER)
        one->missed = 0;
    one->last = now;
    if (++one->missed < one->needed)
        return NULL;
    judge(one);
    if (one->missed < one->needed)
        return NULL;
    one->missed = one->known = 0;
    return one;
}

void crowds_known(struct crowds *c, uint64_t now, const char *folder, size_t len) {
    struct crowd *one = find(c, folder, len);
    if (!one)
        return;
    one->last = now;
    one->known++;
}

bool crowds_told(struct crowds *c, const char *folder, size_t len, uint32_t count, uint64_t since) {
    struct crowd *one = find(c, folder, len);
    if (!one)
        return false;
    one->told += count;
    return one->last >= since;
}
