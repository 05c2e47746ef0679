#include "agent/files/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void handles_init(struct handles *t, struct nodes *nodes) {
    t->nodes = nodes;
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < HANDLES_MAX; i++)
        t->all[i] = NULL;
}

static void dispose(struct handles *t, struct handle *h) {
    close(h->fd);
    nodes_unpin(t->nodes, h->node);
    pthread_mutex_destroy(&h->reading);
    free(h);
}

uint64_t handles_add(struct handles *t, int fd, struct node *node) {
    struct handle *h = calloc(1, sizeof *h);
    uint64_t number = 0;
    if (h) {
        *h = (struct handle){.fd = fd, .node = node, .uses = 1};
        pthread_mutex_init(&h->reading, NULL);
    }
    pthread_mutex_lock(&t->lock);
    for (uint32_t i = 0; h && i < HANDLES_MAX && number == 0; i++)
        if (!t->all[i]) {
            t->all[i] = h;
            number = i + 1;
        }
    pthread_mutex_unlock(&t->lock);
    if (number == 0) {
        free(h);
        close(fd);
        nodes_unpin(t->nodes, node);
        errno = ENFILE;
    }
    return number;
}

struct handle *handles_use(struct handles *t, uint64_t number) {
    struct handle *h = NULL;
    pthread_mutex_lock(&t->lock);
    if (number >= 1 && number <= HANDLES_MAX && (h = t->all[number - 1]))
        h->uses++;
    pthread_mutex_unlock(&t->lock);
    if (!h)
        errno = EBADF;
    return h;
}

void handles_done(struct handles *t, struct handle *h) {
    pthread_mutex_lock(&t->lock);
    bool last = --h->uses == 0;
    pthread_mutex_unlock(&t->lock);
    if (last)
        dispose(t, h);
}

void handles_release(struct handles *t, uint64_t number) {
    struct handle *h = NULL;
    pthread_mutex_lock(&t->lock);
    if (number >= 1 && number <= HANDLES_MAX) {
        h = t->all[number - 1];
        t->all[number - 1] = NULL;
    }
    bool last = h && --h->uses == 0;
    pthread_mutex_unlock(&t->lock);
    if (last)
        dispose(t, h);
}

void handles_clear(struct handles *t) {
    for (uint64_t number = 1; number <= HANDLES_MAX; number++)
        handles_release(t, number);
    pthread_mutex_destroy(&t->lock);
}
