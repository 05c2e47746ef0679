/* The outbox: a byte ring of length-prefixed messages under a mutex, and an eventfd that is readable while one waits. */
#include "outbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LENGTH = sizeof(uint32_t) };

struct outbox {
    pthread_mutex_t lock;
    int event;
    size_t limit;
    size_t head, used; /* the first octet waiting, and how many wait */
    uint64_t lost;
    uint8_t ring[];
};

struct outbox *outbox_new(size_t limit, struct fault *f) {
    CHECK(limit >= LENGTH + OUTBOX_MESSAGE);
    struct outbox *o = malloc(sizeof *o + limit);
    if (o == NULL) {
        fault_set(f, ENOMEM, "make an outbox of %zu octets", limit);
        return NULL;
    }
    *o = (struct outbox){.limit = limit};
    o->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (o->event < 0) {
        fault_set(f, errno, "make an eventfd");
        free(o);
        return NULL;
    }
    pthread_mutex_init(&o->lock, NULL);
    return o;
}

void outbox_free(struct outbox *o) {
    if (o == NULL)
        return;
    close(o->event);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

int outbox_fd(const struct outbox *o) {
    return o->event;
}

static void put(struct outbox *o, const void *p, size_t n) {
    size_t at = (o->head + o->used) % o->limit;
    size_t first = n < o->limit - at ? n : o->limit - at;
    memcpy(o->ring + at, p, first);
    memcpy(o->ring, (const uint8_t *)p + first, n - first);
    o->used += n;
}

static void take(struct outbox *o, void *p, size_t n) {
    size_t first = n < o->limit - o->head ? n : o->limit - o->head;
    memcpy(p, o->ring + o->head, first);
    memcpy((uint8_t *)p + first, o->ring, n - first);
    o->head = (o->head + n) % o->limit;
    o->used -= n;
}

/* The eventfd counts nothing: it is 1 while messages wait and 0 otherwise, and changes under the lock only. */
void outbox_post(struct outbox *o, const void *message, size_t n) {
    CHECK(n > 0 && n <= OUTBOX_MESSAGE);
    uint32_t length = (uint32_t)n;
    pthread_mutex_lock(&o->lock);
    if (o->limit - o->used < LENGTH + n) {
        o->lost++;
    } else {
        bool first = o->used == 0;
        put(o, &length, LENGTH);
        put(o, message, n);
        if (first)
            CHECK(eventfd_write(o->event, 1) == 0);
    }
    pthread_mutex_unlock(&o->lock);
}

size_t outbox_pull(struct outbox *o, void *buf, size_t capacity) {
    CHECK(capacity >= OUTBOX_MESSAGE);
    uint32_t length = 0;
    pthread_mutex_lock(&o->lock);
    if (o->used > 0) {
        take(o, &length, LENGTH);
        take(o, buf, length);
        eventfd_t waiting;
        if (o->used == 0)
            CHECK(eventfd_read(o->event, &waiting) == 0);
    }
    pthread_mutex_unlock(&o->lock);
    return length;
}

uint64_t outbox_lost(struct outbox *o) {
    pthread_mutex_lock(&o->lock);
    uint64_t lost = o->lost;
    pthread_mutex_unlock(&o->lock);
    return lost;
}
