#include "agent/files/pool.h"

#include <signal.h>
#include <stdlib.h>

enum { STACK = 512 * 1024 };

void pool_init(struct pool *p, const struct credentials *who) {
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    messages_init(&p->queue);
    p->threads = p->idle = p->queued = 0;
    p->ended = false;
    p->who = who;
}

void pool_free(struct pool *p) {
    messages_clear(&p->queue);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
}

/* The next request, or NULL: the pool has ended. */
static struct message *next(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->queue.first && !p->ended)
        pthread_cond_wait(&p->work, &p->lock);
    p->idle--;
    struct message *m = p->ended ? NULL : messages_take(&p->queue);
    p->queued -= m != NULL;
    pthread_mutex_unlock(&p->lock);
    return m;
}

static void leave(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    bool last = --p->threads == 0 && p->ended;
    pthread_mutex_unlock(&p->lock);
    if (last)
        p->over(p);
}

static void *run(void *arg) {
    struct pool *p = arg;
    struct fault f;
    if (credentials_take(p->who, &f) < 0)
        p->refused(p, &f);
    else
        for (struct message *m; (m = next(p));)
            p->serve(p, m);
    leave(p);
    return NULL;
}

/* With every signal blocked: those that are sent to the process are the main thread's. */
static int start(struct pool *p) {
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, &attr, run, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return err ? -1 : 0;
}

int pool_put(struct pool *p, struct message *request) {
    pthread_mutex_lock(&p->lock);
    messages_put(&p->queue, request);
    p->queued++;
    bool more = p->queued > p->idle && p->threads < POOL_THREADS;
    if (more && start(p) == 0)
        p->threads++;
    int result = p->threads > 0 ? 0 : -1;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return result;
}

struct message *pool_take_back(struct pool *p, bool (*is)(const struct message *m, uint64_t number),
                               uint64_t number) {
    struct messages kept;
    struct message *found = NULL;
    messages_init(&kept);
    pthread_mutex_lock(&p->lock);
    for (struct message *m; (m = messages_take(&p->queue));)
        if (!found && is(m, number))
            found = m;
        else
            messages_put(&kept, m);
    for (struct message *m; (m = messages_take(&kept));)
        messages_put(&p->queue, m);
    p->queued -= found != NULL;
    pthread_mutex_unlock(&p->lock);
    return found;
}

void pool_end(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    p->ended = true;
    bool last = p->threads == 0;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (last)
        p->over(p);
}
