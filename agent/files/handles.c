#include "agent/files/handles.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

void handles_init(struct handles *t, struct nodes *nodes) {
    uint32_t random = 0;
    t->nodes = nodes;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)getpid();
    t->before = ((uint64_t)random + 1) * 65536;
    pthread_mutex_init(&t->lock, NULL);
    for (int i = 0; i < HANDLES_MAX; i++)
        t->all[i] = NULL;
}

static struct handle **place(struct handles *t, uint64_t number) {
    uint64_t i = number - t->before - 1; /* what is below wraps to far above */
    return i < HANDLES_MAX ? &t->all[i] : NULL;
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
            number = t->before + i + 1;
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
    struct handle **at = place(t, number);
    if (at && (h = *at))
        h->uses++;
    pthread_mutex_unlock(&t->lock);
    if (!h)
        errno = ESTALE;
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
    struct handle **at = place(t, number);
    if (at) {
        h = *at;
        *at = NULL;
    }
    bool last = h && --h->uses == 0;
    pthread_mutex_unlock(&t->lock);
    if (last)
        dispose(t, h);
}

void handles_clear(struct handles *t) {
    for (uint64_t i = 1; i <= HANDLES_MAX; i++)
        handles_release(t, t->before + i);
    pthread_mutex_destroy(&t->lock);
}
