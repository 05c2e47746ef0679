#include "serve.h"

#include "answer.h"
#include "call.h"
#include "caller.h"
#include "laid.h"
#include "shadow.h"
#include "their_socket.h"
#include "watchers.h"

#include "layer/files/door_words.h"
#include "layer/preload/by_rules.h"
#include "layer/preload/place.h"
#include "layer/preload/raw.h"
#include "layer/preload/seccomp.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "layer/preload/libc.h"

struct desk {
    struct watchers *watchers;
    char texts[2][PATH_MAX]; /* no call has more */
    union {
        struct stat stat;
        struct statx statx;
        struct statfs statfs;
        long times[4];
        uint8_t value[DOOR_VALUE];
    } room;
};

struct desk *desk_new(struct watchers *watchers) {
    struct desk *d = malloc(sizeof *d);
    if (d)
        d->watchers = watchers;
    return d;
}

/* --- arguments, and what comes back ---------------------------------------------------------------------------------------- */

static long address(const void *p) {
    return (long)(uintptr_t)p;
}

/* Memory that the caller wants read. */
static bool fetch(struct desk *d, struct caller *c, long *argument, size_t n) {
    if (n > sizeof d->room || !caller_read(c, (uint64_t)*argument, &d->room, n))
        return false;
    *argument = address(&d->room);
    return true;
}

/* Memory that the caller wants written: ours first, which is never NULL. */
static void lend(struct desk *d, long *argument, long *size) {
    if (size && *size > (long)sizeof d->room)
        *size = sizeof d->room;
    *argument = address(&d->room);
}

/* One argument becomes one of this process. */
static bool take(struct desk *d, struct caller *c, enum argument kind, long *a, int *texts) {
    switch (kind) {
    case NUMBER:
        return true;
    case PATH:
        if (caller_text(c, (uint64_t)a[0], d->texts[*texts], PATH_MAX) < 0)
            return false;
        a[0] = address(d->texts[(*texts)++]);
        return true;
    case IN:
        return a[1] >= 0 && fetch(d, c, a, (size_t)a[1]);
    case TIMES: /* NULL: of now */
        return a[0] == 0 || fetch(d, c, a, 4 * sizeof(long));
    case SECONDS:
        return a[0] == 0 || fetch(d, c, a, 2 * sizeof(long));
    case OUT:
        if (a[1] < 0)
            return false;
        lend(d, a, &a[1]);
        return true;
    case STAT:
    case STATX:
    case STATFS:
        lend(d, a, NULL);
        return true;
    }
    return false;
}

/* False: memory is not where the caller says, or there is none. The kernel says what is wrong with it. */
static bool load(struct desk *d, struct caller *c, const struct call *call, long a[6]) {
    int texts = 0;
    for (int i = 0; i < 6; i++)
        if (!take(d, c, call->arguments[i], &a[i], &texts))
            return false;
    return true;
}

static size_t written(const struct call *call, int i, const uint64_t *asked, long result) {
    switch (call->arguments[i]) {
    case OUT:
        return asked[i + 1] > 0 ? (size_t)result : 0; /* a size of 0 asks for how much there is */
    case STAT:
        return sizeof(struct stat);
    case STATX:
        return sizeof(struct statx);
    case STATFS:
        return sizeof(struct statfs);
    default:
        return 0;
    }
}

/* What was written into our memory, into the caller's. */
static bool store(struct desk *d, struct caller *c, const struct call *call, const uint64_t *asked,
                  long result) {
    for (int i = 0; i < 6; i++) {
        size_t n = written(call, i, asked, result);
        if (n > 0 && !caller_write(c, asked[i], &d->room, n))
            return false;
    }
    return true;
}

/* --- the call -------------------------------------------------------------------------------------------------------------- */

/* A directory of the target's is in no tree of this container, and what the kernel says of it is not what libc wants to hear. */
static long getcwd_for(char *out, long size) {
    bool of_target = false;
    char text[PATH_MAX];
    long n = place_cwd(text, sizeof text, &of_target);
    if (n <= 0 || !of_target || size < 0) {
        place_left();
        return -1;
    }
    if (n > size) {
        errno = ERANGE;
        return -1;
    }
    memcpy(out, text, (size_t)n);
    return n;
}

static bool makes_watcher(const struct call *call) {
#ifdef SYS_inotify_init
    if (call->number == SYS_inotify_init)
        return true;
#endif
    return call->number == SYS_inotify_init1;
}

static long made(struct desk *d, const struct call *call, const long a[6]) {
    const void *first = (const void *)(uintptr_t)a[0], *second = (const void *)(uintptr_t)a[1];
    if (makes_watcher(call))
        return watchers_new(d->watchers, call->at < 0 ? 0 : (int)a[0]);
    switch (call->number) {
    case SYS_chdir:
        return shadow_chdir(first);
    case SYS_getcwd:
        return getcwd_for((char *)(uintptr_t)a[0], a[1]);
    case SYS_connect:
        return their_socket_connect((int)a[0], second, (size_t)a[2]);
    case SYS_bind:
        return their_socket_bind((int)a[0], second, (size_t)a[2]);
    case SYS_execve:
        return laid_run(first);
    case SYS_execveat: /* from a descriptor its kernel goes by itself */
        return (int)a[0] == AT_FDCWD || *(const char *)second == '/' ? laid_run(second)
                                                                     : (place_left(), -1);
    case SYS_inotify_add_watch:
        return watchers_add(d->watchers, (int)a[0], second, (uint32_t)a[2]);
    default:
        return call_by_rules(call->number, a);
    }
}

static bool close_on_exec(const struct call *call, const long a[6]) {
    if (call->at < 0)
        return false;
    uint64_t flags = (uint64_t)a[call->at];
    if (call->result == RESULT_DESCRIPTOR_HOW)
        memcpy(&flags, (const void *)(uintptr_t)a[call->at], sizeof flags);
    return flags & O_CLOEXEC;
}

static void given(struct desk *d, int listener, uint64_t id, const struct call *call,
                  const long a[6], int fd) {
    long number = answer_descriptor(listener, id, fd, !close_on_exec(call, a));
    if (number >= 0 && makes_watcher(call))
        watchers_keep(d->watchers, (int)number, fd);
    else
        raw(SYS_close, fd);
}

static bool still_waits(int listener, uint64_t id) {
    return raw(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

/* False: the caller's kernel is to do what it was asked. */
static bool served(struct desk *d, struct caller *c, int listener,
                   const struct seccomp_notif *asked) {
    const struct call *call = call_of(asked->data.nr);
    long a[6];
    memcpy(a, asked->data.args, sizeof a);
    if (!call || !load(d, c, call, a) || !still_waits(listener, asked->id))
        return false;
    long result = made(d, call, a);
    int err = errno;
    if (c->left)
        return false;
    if (result >= 0 && call->result == RESULT_REPLACED)
        answer_in_place(listener, asked->id, (int)result, (int)a[0]);
    else if (result >= 0 && call->result != RESULT_PLAIN)
        given(d, listener, asked->id, call, a, (int)result);
    else if (result < 0)
        answer_failed(listener, asked->id, err);
    else if (store(d, c, call, asked->data.args, result))
        answer_value(listener, asked->id, result);
    else
        answer_failed(listener, asked->id, EFAULT);
    return true;
}

void serve(struct desk *d, int listener, const struct seccomp_notif *asked, void (*waits)(void *),
           void *arg) {
    struct caller c = {.waits = waits, .arg = arg};
    bool done = false;
    if (asked->pid != 0 && caller_enter(&c, (pid_t)asked->pid)) {
        done = served(d, &c, listener, asked);
        caller_leave(&c);
    }
    if (!done)
        answer_left(listener, asked->id);
}
