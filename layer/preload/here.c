/* The working directory, remembered: asking for it costs more than deciding does.
 *
 * What is remembered is good until a chdir(2) of ours, and for who remembered it. A child of vfork(2) shares the memory and not
 * the directory: it may read, since until its own chdir both are the same, and never writes (`owner`). A child of fork(3) finds
 * this page empty (MADV_WIPEONFORK) and becomes its owner; one of clone(2) alone finds it empty too, cannot tell which it is, and
 * remembers nothing. Where the kernel cannot empty it, nobody does. */
#include "place.h"

#include "raw.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#define REMARK (sizeof(PLACE_UNREACHABLE) - 1)

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

struct here {
    atomic_int owner;    /* a process; 0: none */
    atomic_uint moves;   /* how often it changed */
    atomic_uint version; /* odd: somebody writes what follows */
    unsigned of_move;
    bool of_target;
    long size;
    char text[PATH_MAX];
};

static struct here *_Atomic here;

static void own(void) {
    atomic_store(&atomic_load(&here)->owner, (int)raw(SYS_getpid));
}

__attribute__((constructor(101))) static void begin(void) {
    int before = errno;
    void *page =
        mmap(NULL, sizeof(struct here), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, sizeof(struct here), MADV_WIPEONFORK) == 0) {
        atomic_store(&here, page);
        own();
        pthread_atfork(NULL, NULL, own);
    }
    errno = before;
}

void place_moved(void) {
    struct here *h = atomic_load(&here);
    if (h)
        atomic_fetch_add(&h->moves, 1);
}

static long remembered(char *out, size_t size, bool *of_target) {
    const struct here *h = atomic_load_explicit(&here, memory_order_acquire);
    unsigned version = h ? atomic_load_explicit(&h->version, memory_order_acquire) : 1;
    if (version % 2 || h->size <= 0 || (size_t)h->size > size)
        return -1;
    long n = h->size;
    unsigned of_move = h->of_move;
    *of_target = h->of_target;
    memcpy(out, h->text, (size_t)n);
    atomic_thread_fence(memory_order_acquire);
    bool whole = atomic_load_explicit(&h->version, memory_order_relaxed) == version;
    return whole && of_move == atomic_load(&h->moves) ? n : -1;
}

/* Who finds another writing lets it be: then the next one asks again. */
static void remember(struct here *h, unsigned move, const char *text, long size, bool of_target) {
    unsigned version = atomic_load(&h->version);
    if (version % 2 || !atomic_compare_exchange_strong(&h->version, &version, version + 1))
        return;
    h->of_move = move;
    h->of_target = of_target;
    h->size = size;
    memcpy(h->text, text, (size_t)size);
    atomic_store_explicit(&h->version, version + 2, memory_order_release);
}

long place_cwd(char *out, size_t size, bool *of_target) {
    long n = remembered(out, size, of_target);
    if (n > 0)
        return n;
    char text[PATH_MAX + REMARK];
    struct here *h = atomic_load(&here);
    unsigned move = h ? atomic_load(&h->moves) : 0;
    n = raw(SYS_getcwd, text, sizeof text);
    if (n <= 0)
        return -1;
    *of_target = strncmp(text, PLACE_UNREACHABLE, REMARK) == 0;
    const char *name = text + (*of_target ? REMARK : 0);
    n -= *of_target ? (long)REMARK : 0;
    if (n > PATH_MAX || (size_t)n > size) {
        errno = ERANGE;
        return -1;
    }
    memcpy(out, name, (size_t)n);
    if (h && atomic_load(&h->owner) == (int)raw(SYS_getpid))
        remember(h, move, name, n, *of_target);
    return n;
}
