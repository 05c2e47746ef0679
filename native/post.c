#include "post.h"

#include <errno.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void take_all(struct post *p) {
    pthread_mutex_lock(&p->lock);
    struct post_item *item = p->first;
    p->first = NULL;
    p->last = &p->first;
    p->told = false;
    pthread_mutex_unlock(&p->lock);
    while (item) {
        struct post_item *next = item->next;
        p->take(p, item);
        item = next;
    }
}

static void ready(struct loop_fd *h, uint32_t events) {
    (void)events;
    uint64_t count;
    ssize_t n = read(h->fd, &count, sizeof count); /* EAGAIN: taken already */
    (void)n;
    take_all(container_of(h, struct post, io));
}

int post_open(struct post *p, struct loop *l, void (*take)(struct post *, struct post_item *),
              struct fault *f) {
    *p = (struct post){.loop = l, .io = {.ready = ready}, .take = take};
    p->last = &p->first;
    p->io.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (p->io.fd < 0)
        return fault_set(f, errno, "make an eventfd");
    if (loop_add(l, &p->io, EPOLLIN, f) < 0) {
        close(p->io.fd);
        return -1;
    }
    pthread_mutex_init(&p->lock, NULL);
    return 0;
}

void post_close(struct post *p) {
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_mutex_unlock(&p->lock);
    take_all(p);
    loop_del(p->loop, &p->io);
    close(p->io.fd);
}

void post_leave(struct post *p) {
    loop_del(p->loop, &p->io);
}

/* The eventfd counts what was posted meanwhile. */
void post_join(struct post *p, struct loop *l) {
    struct fault f;
    p->loop = l;
    CHECK(loop_add(l, &p->io, EPOLLIN, &f) == 0); /* it fails for want of memory only */
}

/* Locked. */
static void tell(struct post *p) {
    uint64_t one = 1;
    ssize_t n = p->told ? 0 : write(p->io.fd, &one, sizeof one);
    (void)n;
    p->told = true;
}

static bool put(struct post *p, struct post_item *item, bool now) {
    item->next = NULL;
    pthread_mutex_lock(&p->lock);
    bool open = !p->closed;
    if (open) {
        *p->last = item;
        p->last = &item->next;
    }
    if (open && now)
        tell(p);
    pthread_mutex_unlock(&p->lock);
    return open;
}

bool post_put(struct post *p, struct post_item *item) {
    return put(p, item, true);
}

bool post_put_later(struct post *p, struct post_item *item) {
    return put(p, item, false);
}

void post_tell(struct post *p) {
    pthread_mutex_lock(&p->lock);
    if (!p->closed && p->first)
        tell(p);
    pthread_mutex_unlock(&p->lock);
}
