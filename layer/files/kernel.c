#include "layer/files/kernel.h"

#include "native/files_words.h"
#include "native/thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { BACKGROUND = 64, STACK = 256 * 1024 };

/* Without FUSE_ASYNC_DIO: a direct read would wait where no signal reaches it, not even SIGKILL. */
#define WANTED                                                                                     \
    (FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_AUTO_INVAL_DATA |              \
     FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |         \
     FUSE_CACHE_SYMLINKS)

bool kernel_awaits(uint32_t opcode) {
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET && opcode != FUSE_INTERRUPT;
}

/* --- answers ------------------------------------------------------------------------------------------------------------ */

static void answered(struct kernel *k) {
    pthread_mutex_lock(&k->lock);
    if (k->in_flight-- >= FILES_IN_FLIGHT)
        pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

void kernel_answer(struct kernel *k, struct message *m) {
    answered(k);
    answers_put(&k->answers, m);
}

void kernel_cut(struct kernel *k, uint64_t unique, const struct part *parts, uint32_t count,
                bool here) {
    answered(k);
    answers_cut(&k->answers, unique, parts, count, here);
}

void kernel_error(struct kernel *k, uint64_t unique, int error) {
    struct message *m = message_new(sizeof(struct fuse_out_header));
    CHECK(
        m !=
        NULL); /* 80 octets: without them nothing here can go on, and the app would wait for ever */
    *(struct fuse_out_header *)m->data =
        (struct fuse_out_header){.len = m->len, .error = error, .unique = unique};
    kernel_answer(k, m);
}

bool kernel_store(struct kernel *k, uint64_t node, const void *octets, uint32_t len) {
    struct {
        struct fuse_out_header head;
        struct fuse_notify_store_out store;
    } m = {.head = {.error = FUSE_NOTIFY_STORE}, .store = {.nodeid = node, .size = len}};
    struct iovec iov[2] = {{&m, sizeof m}, {(void *)(uintptr_t)octets, len}};
    m.head.len = (uint32_t)sizeof m + len;
    return writev(k->device, iov, 2) >= 0;
}

/* --- requests ----------------------------------------------------------------------------------------------------------- */

static void init(struct kernel *k, const struct message *request) {
    const struct fuse_in_header *head = (const void *)request->data;
    const struct fuse_init_in *in = (const void *)(head + 1);
    struct message *m = message_new(sizeof(struct fuse_out_header) + sizeof(struct fuse_init_out));
    CHECK(m != NULL);
    struct fuse_out_header *out = (void *)m->data;
    *out = (struct fuse_out_header){.len = m->len, .unique = head->unique};
    *(struct fuse_init_out *)(out + 1) = (struct fuse_init_out){
        .major = FUSE_KERNEL_VERSION,
        .minor = FILES_MINOR,
        .max_readahead = FILES_IO,
        .flags = in->flags & WANTED,
        .max_background = BACKGROUND,
        .congestion_threshold = BACKGROUND * 3 / 4,
        .max_write = FILES_IO,
        .time_gran = 1,
        .max_pages = FILES_IO / 4096,
    };
    kernel_answer(k, m);
}

static void hand_on(struct kernel *k, size_t n) {
    const struct fuse_in_header *head = (const void *)k->room;
    if (n < sizeof *head || head->opcode == FUSE_DESTROY)
        return;
    struct message *m = message_new(n);
    CHECK(m != NULL);
    memcpy(m->data, k->room, n);
    if (kernel_awaits(head->opcode)) {
        pthread_mutex_lock(&k->lock);
        k->in_flight++;
        pthread_mutex_unlock(&k->lock);
    }
    if (head->opcode != FUSE_INIT) {
        k->ask(k, m);
        return;
    }
    init(k, m);
    free(m);
}

/* While as many are in flight as may be, none is read: the kernel keeps them. Whether to go on. */
static bool may_read(struct kernel *k) {
    pthread_mutex_lock(&k->lock);
    while (k->in_flight >= FILES_IN_FLIGHT && !k->ended)
        pthread_cond_wait(&k->changed, &k->lock);
    bool ended = k->ended;
    pthread_mutex_unlock(&k->lock);
    return !ended;
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void kernel_later(struct kernel *k) {
    if (!k->later)
        k->later = now() + KERNEL_LATER;
}

/* Until there is a request, or what was put off is due. */
static void wait_for_request(struct kernel *k) {
    struct pollfd fds[] = {{.fd = k->device, .events = POLLIN}, {.fd = k->stop, .events = POLLIN}};
    uint64_t t = k->later ? now() : 0;
    int left = !k->later ? -1 : t < k->later ? (int)((k->later - t) / 1000000 + 1) : 0;
    if (poll(fds, 2, left) != 0 && left != 0)
        return;
    k->later = 0;
    k->idle(k);
}

static void *read_requests(void *arg) {
    struct kernel *k = arg;
    thread_gives_way();
    while (may_read(k)) {
        ssize_t n = read(k->device, k->room, FILES_MESSAGE);
        if (n >= 0)
            hand_on(k, (size_t)n);
        else if (errno == EAGAIN)
            wait_for_request(k);
        else if (errno != EINTR && errno != ENOENT) /* ENOENT: it was taken back meanwhile */
            break;                                  /* ENODEV: the mount is gone */
    }
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static void end(struct kernel *k) {
    pthread_mutex_lock(&k->lock);
    k->ended = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    eventfd_write(k->stop, 1);
}

int kernel_start(struct kernel *k, int device, struct spares *spares,
                 void (*ask)(struct kernel *, struct message *), void (*idle)(struct kernel *),
                 struct fault *f) {
    *k = (struct kernel){.device = device, .ask = ask, .idle = idle};
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, NULL);
    k->stop = eventfd(0, EFD_CLOEXEC);
    k->room = malloc(FILES_MESSAGE);
    if (k->stop < 0 || !k->room) {
        fault_set(f, ENOMEM, "make room for the kernel's requests");
        goto undo;
    }
    if (answers_start(&k->answers, device, spares, f) < 0)
        goto undo;
    int err = thread_start(&k->reading, STACK, false, read_requests, k);
    if (!err)
        return 0;
    fault_set(f, err, "start the thread that reads the kernel's requests");
    answers_stop(&k->answers);
undo:
    if (k->stop >= 0)
        close(k->stop);
    free(k->room);
    return -1;
}

void kernel_stop(struct kernel *k) {
    end(k);
    pthread_join(k->reading, NULL);
    answers_stop(&k->answers);
    free(k->room);
    close(k->stop);
}
