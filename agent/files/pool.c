#include "agent/files/pool.h"

#include "native/thread.h"

#include <time.h>

enum { STACK = 512 * 1024 };

void pool_init(struct pool *p, const struct credentials *who) {
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    messages_init(&p->queue);
    p->busy.next = p->busy.prev = &p->busy;
    p->threads = p->idle = p->queued = 0;
    p->ended = false;
    p->who = who;
}

void pool_free(struct pool *p) {
    messages_clear(&p->queue);
    pthread_cond_destroy(&p->work);
    pthread_mutex_destroy(&p->lock);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- who is at what, with the lock held ---------------------------------------------------------------------------------- */

static void begin(struct pool *p, struct pool_worker *w) {
    *w = (struct pool_worker){.next = &p->busy, .prev = p->busy.prev, .since = now()};
    w->prev->next = w->next->prev = w;
}

static void done(struct pool_worker *w) {
    w->next->prev = w->prev;
    w->prev->next = w->next;
}

static uint32_t stuck(const struct pool *p) {
    uint32_t n = 0;
    uint64_t t = now();
    for (const struct pool_worker *w = p->busy.next; w != &p->busy && t - w->since >= POOL_STUCK;
         w = w->next)
        n++;
    return n;
}

static bool may_grow(const struct pool *p) {
    return p->threads < POOL_THREADS ||
           (p->threads < POOL_MOST && p->threads - stuck(p) < POOL_THREADS);
}

/* --- its threads -------------------------------------------------------------------------------------------------------- */

/* The next request, or NULL: the pool has ended, or this thread was in the place of one that is stuck no more. */
static struct message *next(struct pool *p, struct pool_worker *w) {
    pthread_mutex_lock(&p->lock);
    p->idle++;
    while (!p->queue.first && !p->ended && p->threads <= POOL_THREADS + stuck(p))
        pthread_cond_wait(&p->work, &p->lock);
    p->idle--;
    struct message *m = p->ended ? NULL : messages_take(&p->queue);
    p->queued -= m != NULL;
    if (m)
        begin(p, w);
    pthread_mutex_unlock(&p->lock);
    return m;
}

static void serve(struct pool *p, struct pool_worker *w, struct message *m) {
    p->serve(p, m);
    pthread_mutex_lock(&p->lock);
    done(w);
    pthread_mutex_unlock(&p->lock);
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
    struct pool_worker w;
    struct fault f;
    thread_gives_way();
    if (credentials_take(p->who, &f) < 0)
        p->refused(p, &f);
    else
        for (struct message *m; (m = next(p, &w));)
            serve(p, &w, m);
    leave(p);
    return NULL;
}

/* More, if there is work that nobody waits for. */
static void grow(struct pool *p) {
    pthread_t thread;
    if (p->queued > p->idle && may_grow(p) && thread_start(&thread, STACK, true, run, p) == 0)
        p->threads++;
}

int pool_put(struct pool *p, struct message *request) {
    pthread_mutex_lock(&p->lock);
    messages_put(&p->queue, request);
    p->queued++;
    grow(p);
    int result = p->threads > 0 ? 0 : -1;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    return result;
}

bool pool_look(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    grow(p);
    bool more = p->queued > 0;
    pthread_mutex_unlock(&p->lock);
    return more;
}

bool pool_is_stuck(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    bool is = p->threads >= POOL_MOST && stuck(p) >= POOL_MOST;
    pthread_mutex_unlock(&p->lock);
    return is;
}

struct message *pool_take_first(struct pool *p) {
    pthread_mutex_lock(&p->lock);
    struct message *m = messages_take(&p->queue);
    p->queued -= m != NULL;
    pthread_mutex_unlock(&p->lock);
    return m;
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
