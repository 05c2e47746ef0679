#include "spares.h"

#include <stdlib.h>
#include <string.h>

void spares_init(struct spares *s) {
    *s = (struct spares){.count = 0};
    pthread_mutex_init(&s->lock, NULL);
    messages_init(&s->kept);
}

void spares_clear(struct spares *s) {
    pthread_mutex_lock(&s->lock);
    messages_clear(&s->kept);
    s->count = 0;
    pthread_mutex_unlock(&s->lock);
}

struct message *spares_take(struct spares *s, size_t len) {
    if (len < SPARES_LEAST || len > SPARES_ROOM)
        return message_new(len);
    pthread_mutex_lock(&s->lock);
    struct message *m = messages_take(&s->kept);
    s->count -= m != NULL;
    pthread_mutex_unlock(&s->lock);
    if (!m && !(m = malloc(sizeof *m + SPARES_ROOM)))
        return NULL;
    memset(m, 0, sizeof *m);
    m->len = (uint32_t)len;
    m->spare = true;
    return m;
}

void spares_give(struct spares *s, struct message *m) {
    bool kept = false;
    if (m->spare) {
        pthread_mutex_lock(&s->lock);
        if ((kept = s->count < SPARES_MOST)) {
            messages_push(&s->kept, m);
            s->count++;
        }
        pthread_mutex_unlock(&s->lock);
    }
    if (!kept)
        free(m);
}
