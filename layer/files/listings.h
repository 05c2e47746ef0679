/* Folders that the kernel is made to read before their entries are asked for (crowds.h says which): each entry comes with its
 * attributes then, many in a round trip, and for as long as the kernel may go by what it was told (a second), a question after one
 * of them is its own to answer.
 *
 * A thread of its own reads them as anybody would, by the mount. It ends with who asks: after each LISTINGS_PIECE entries in
 * which nobody asked for one of the folder, and after a second, for what came first is not known any more by then. */
#pragma once

#include "layer/files/crowds.h"

#include <pthread.h>
#include <stdbool.h>

#define LISTINGS_PIECE 1024

struct filesystem;

struct listings {
    struct filesystem *fs;
    int mount;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool runs, over;
    char *folder; /* the one to be listed next; NULL: the thread waits */
    struct crowds crowds;
};

/* `mount` stays the caller's. */
void listings_init(struct listings *l, struct filesystem *fs, int mount);
/* Of an entry that was asked for by its path: it was known, or it cost a round trip and is there. Any thread. */
void listings_known(struct listings *l, const char *path);
void listings_missed(struct listings *l, const char *path);
/* What the thread asks of the mount must come to an end. */
void listings_close(struct listings *l);
