#include "layer/files/tops.h"

#include "native/files_words.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void tops_init(struct tops *t) {
    *t = (struct tops){.count = 0};
    pthread_mutex_init(&t->lock, NULL);
}

void tops_clear(struct tops *t) {
    while (t->count > 0)
        free(t->names[--t->count]);
}

void tops_told(struct tops *t, const char *name) {
    pthread_mutex_lock(&t->lock);
    uint32_t i = 0;
    while (i < t->count && strcmp(t->names[i], name) != 0)
        i++;
    if (i == t->count && i < TOPS_MAX && (t->names[i] = strdup(name)))
        t->count++;
    pthread_mutex_unlock(&t->lock);
}

void tops_stale(struct tops *t) {
    atomic_store(&t->stale, true);
}

/* ENOENT: the kernel has let go of it by itself. */
static void forget(int device, const char *name) {
    struct {
        struct fuse_out_header head;
        struct fuse_notify_inval_entry_out entry;
        char name[NAME_MAX + 1];
    } m = {.entry = {.parent = FUSE_ROOT_ID, .namelen = (uint32_t)strlen(name)}};
    strncpy(m.name, name, NAME_MAX);
    m.head.len = (uint32_t)(sizeof m.head + sizeof m.entry + m.entry.namelen + 1);
    m.head.error = FUSE_NOTIFY_INVAL_ENTRY;
    ssize_t n = write(device, &m, m.head.len);
    (void)n;
}

void tops_refresh(struct tops *t, int device) {
    char *names[TOPS_MAX];
    if (!atomic_exchange(&t->stale, false))
        return;
    pthread_mutex_lock(&t->lock);
    uint32_t count = t->count;
    memcpy(names, t->names, count * sizeof *names);
    t->count = 0;
    pthread_mutex_unlock(&t->lock);
    for (uint32_t i = 0; i < count; i++) {
        forget(device, names[i]);
        free(names[i]);
    }
}
