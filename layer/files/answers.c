#include "layer/files/answers.h"

#include "native/thread.h"

#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SMALL = 16 * 1024, STACK = 256 * 1024 };

/* A message that is one of these is marked by its owner being itself. */
struct cut {
    struct fuse_out_header head;
    uint32_t count, reserved;
    struct part parts[ANSWER_PARTS];
};

/* --- content ------------------------------------------------------------------------------------------------------------ */

struct content *content_new(struct spares *spares, struct message *answer) {
    struct content *c = malloc(sizeof *c);
    if (!c) {
        spares_give(spares, answer);
        return NULL;
    }
    c->spares = spares;
    c->answer = answer;
    atomic_init(&c->uses, 1);
    return c;
}

void content_drop(struct content *c) {
    if (atomic_fetch_sub(&c->uses, 1) != 1)
        return;
    spares_give(c->spares, c->answer);
    free(c);
}

uint32_t content_len(const struct content *c) {
    return c->answer->len - (uint32_t)sizeof(struct fuse_out_header);
}

/* --- writing ------------------------------------------------------------------------------------------------------------ */

/* ENOENT: nobody waits for it any more. Whatever else is said, the request has ended. */
static void write_out(const struct answers *a, const struct iovec *iov, int count) {
    ssize_t n = writev(a->device, iov, count);
    (void)n;
}

static void write_cut(const struct answers *a, struct cut *cut) {
    struct iovec iov[1 + ANSWER_PARTS] = {{&cut->head, sizeof cut->head}};
    for (uint32_t i = 0; i < cut->count; i++) {
        const struct part *p = &cut->parts[i];
        iov[1 + i] = (struct iovec){p->content->answer->data + sizeof cut->head + p->from, p->len};
        cut->head.len += p->len;
    }
    write_out(a, iov, 1 + (int)cut->count);
}

static void drop(const struct answers *a, struct message *m) {
    struct cut *cut = (void *)m->data;
    for (uint32_t i = 0; m->owner == m && i < cut->count; i++)
        content_drop(cut->parts[i].content);
    spares_give(a->spares, m);
}

static void write_one(const struct answers *a, struct message *m) {
    if (m->owner == m)
        write_cut(a, (void *)m->data);
    else
        write_out(a, &(struct iovec){m->data, m->len}, 1);
    drop(a, m);
}

static void *write_large(void *arg) {
    struct answers *a = arg;
    thread_gives_way();
    pthread_mutex_lock(&a->lock);
    while (!a->ended) {
        struct message *m = messages_take(&a->large);
        if (!m) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        write_one(a, m);
        pthread_mutex_lock(&a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void put(struct answers *a, struct message *m, bool here) {
    pthread_mutex_lock(&a->lock);
    bool ended = a->ended;
    if (!ended && !here) {
        messages_put(&a->large, m);
        pthread_cond_signal(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    if (ended)
        drop(a, m);
    else if (here)
        write_one(a, m);
}

void answers_put(struct answers *a, struct message *m) {
    m->owner = NULL;
    put(a, m, m->len <= SMALL);
}

void answers_cut(struct answers *a, uint64_t unique, const struct part *parts, uint32_t count,
                 bool here) {
    struct message *m = message_new(sizeof(struct cut));
    CHECK(m != NULL); /* without these octets the app would wait for ever */
    struct cut *cut = (void *)m->data;
    *cut = (struct cut){.head = {.len = sizeof cut->head, .unique = unique}, .count = count};
    for (uint32_t i = 0; i < count; i++)
        cut->parts[i] = parts[i];
    m->owner = m;
    put(a, m, here);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

int answers_start(struct answers *a, int device, struct spares *spares, struct fault *f) {
    *a = (struct answers){.device = device, .spares = spares};
    messages_init(&a->large);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    int err = thread_start(&a->writing, STACK, false, write_large, a);
    return err ? fault_set(f, err, "start the thread that answers the kernel") : 0;
}

void answers_stop(struct answers *a) {
    pthread_mutex_lock(&a->lock);
    a->ended = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->writing, NULL);
    for (struct message *m; (m = messages_take(&a->large));)
        drop(a, m);
}
