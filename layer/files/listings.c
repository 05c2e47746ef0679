#include "layer/files/listings.h"

#include "layer/files/reach.h"
#include "layer/files/walk.h"
#include "native/thread.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define KNOWN 1000000000ull /* ns: as long as the kernel goes by what it was told */

enum { STACK = 256 * 1024, ROOM = 32 * 1024 };

struct entry { /* getdents64(2) */
    uint64_t ino;
    int64_t off;
    uint16_t len;
    uint8_t type;
    char name[];
} __attribute__((packed));

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- reading a folder ----------------------------------------------------------------------------------------------------- */

/* One look at each entry. The first look at one that came with a folder is never taken without locks, as RESOLVE_CACHED does
 * it; and by it the kernel learns that attributes are wanted of the entries that follow (fs/fuse/dir.c, FUSE_I_INIT_RDPLUS).
 * Folders are left out: one may be where another disk is mounted, which the agent tells nothing of here, and which may hang. */
static uint32_t look_at_each(int folder, const uint8_t *room, long n) {
    struct statx st;
    uint32_t count = 0;
    for (long at = 0; at < n; count++) {
        const struct entry *e = (const void *)(room + at);
        if (e->type == DT_REG || e->type == DT_LNK)
            statx(folder, e->name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE, &st);
        at += e->len;
    }
    return count;
}

static int open_folder(struct listings *l, const char *path) {
    uint64_t walk = walk_ahead(l->fs, path, true, O_RDONLY, false);
    int fd = reach_by(l->mount, path, O_RDONLY | O_DIRECTORY, 0, 0);
    walk_over(l->fs, walk);
    return fd;
}

/* Whether there is somebody whom more of it would serve. */
static bool goes_on(struct listings *l, const char *path, uint32_t count, uint64_t since) {
    pthread_mutex_lock(&l->lock);
    bool on = crowds_told(&l->crowds, path, strlen(path), count, since) && !l->over;
    pthread_mutex_unlock(&l->lock);
    return on;
}

static void list(struct listings *l, const char *path) {
    uint8_t room[ROOM];
    uint64_t began = now(), since = began;
    uint32_t count = 0;
    int folder = open_folder(l, path);
    for (long n; folder >= 0 && now() - began < KNOWN &&
                 (n = syscall(SYS_getdents64, folder, room, sizeof room)) > 0;) {
        count += look_at_each(folder, room, n);
        if (count < LISTINGS_PIECE)
            continue;
        if (!goes_on(l, path, count, since))
            break;
        count = 0;
        since = now();
    }
    /* One that cannot be read was of no use either. */
    goes_on(l, path, folder < 0 ? CROWDS_USE : count, since);
    if (folder >= 0)
        close(folder);
}

static void *run(void *arg) {
    struct listings *l = arg;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->folder && !l->over)
            pthread_cond_wait(&l->wake, &l->lock);
        if (l->over)
            break;
        pthread_mutex_unlock(&l->lock);
        list(l, l->folder);
        pthread_mutex_lock(&l->lock);
        free(l->folder);
        l->folder = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* --- who asks --------------------------------------------------------------------------------------------------------------- */

/* Octets of the path's folder; 0: it is in none. */
static size_t folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash || slash[1] == '\0')
        return 0;
    return slash == path ? 1 : (size_t)(slash - path);
}

void listings_known(struct listings *l, const char *path) {
    size_t len = folder_of(path);
    pthread_mutex_lock(&l->lock);
    if (len)
        crowds_known(&l->crowds, now(), path, len);
    pthread_mutex_unlock(&l->lock);
}

/* While one is listed no other is: whoever asks on makes it due again. */
static void begin(struct listings *l, const struct crowd *one) {
    if (l->over || l->folder || !(l->folder = strdup(one->folder)))
        return;
    if (!l->runs)
        l->runs = thread_start(&l->thread, STACK, false, run, l) == 0;
    pthread_cond_signal(&l->wake);
}

void listings_missed(struct listings *l, const char *path) {
    size_t len = folder_of(path);
    if (!len)
        return;
    pthread_mutex_lock(&l->lock);
    const struct crowd *due = crowds_missed(&l->crowds, now(), path, len);
    if (due)
        begin(l, due);
    pthread_mutex_unlock(&l->lock);
}

/* --- life --------------------------------------------------------------------------------------------------------------------- */

void listings_init(struct listings *l, struct filesystem *fs, int mount) {
    *l = (struct listings){.fs = fs, .mount = mount};
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
}

void listings_close(struct listings *l) {
    pthread_mutex_lock(&l->lock);
    l->over = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (l->runs)
        pthread_join(l->thread, NULL);
    free(l->folder);
    crowds_clear(&l->crowds);
}
