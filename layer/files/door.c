#include "layer/files/door.h"

#include "layer/files/door_deeds.h"
#include "layer/files/door_words.h"
#include "layer/files/filesystem.h"

#include "native/thread.h"

#include <errno.h>
#include <sched.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { STACK = 512 * 1024 };

struct door {
    struct filesystem *fs;
    int mount, listener;
    uid_t app;
    atomic_uint_fast64_t opened, without_layer;
    pthread_mutex_t lock;
    bool closed;
    uint32_t running, idle;
    pthread_t threads[DOOR_MOST];
};

/* A thread's own memory: one ask and one answer. */
struct desk {
    struct door_ask_parts parts;
    union {
        struct door_ask ask;
        uint8_t octets[DOOR_ASK_MAX + 1]; /* one more shows what is too long */
    } in;
    char path[DOOR_PATH + 1], second[DOOR_PATH + 1];
    uint8_t body[DOOR_VALUE] __attribute__((aligned(8)));
};

/* --- what was asked --------------------------------------------------------------------------------------------------------- */

/* Flags that an op other than OPEN knows. */
static uint32_t known_flags(uint16_t op) {
    switch ((enum door_op)op) {
    case DOOR_OPEN:
        return UINT32_MAX; /* door_deeds.c has the list */
    case DOOR_RENAME:
        return 7;
    case DOOR_LINK:
        return DOOR_FOLLOW;
    case DOOR_SETXATTR:
        return DOOR_NOFOLLOW | 3;
    case DOOR_STAT:
    case DOOR_ACCESS:
    case DOOR_CHMOD:
    case DOOR_CHOWN:
    case DOOR_UTIMENS:
    case DOOR_GETXATTR:
    case DOOR_LISTXATTR:
    case DOOR_REMOVEXATTR:
    case DOOR_WATCH:
        return DOOR_NOFOLLOW;
    default:
        return 0;
    }
}

static bool wants_second(uint16_t op) {
    return op == DOOR_RENAME || op == DOOR_LINK || op == DOOR_SYMLINK || op == DOOR_GETXATTR ||
           op == DOOR_SETXATTR || op == DOOR_REMOVEXATTR;
}

/* `n` octets as a string; false: there is a NUL among them. */
static bool string(char *out, const uint8_t *p, size_t n) {
    if (memchr(p, '\0', n))
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

/* Lengths are bounded by the struct's room before they are used, and then add up to what came. */
static bool is_sound(struct desk *d, size_t n) {
    const struct door_ask *q = &d->in.ask;
    if (n < sizeof *q || q->version != DOOR_VERSION || q->op < DOOR_OPEN || q->op >= DOOR_OPS)
        return false;
    if (q->path_len > DOOR_PATH || q->second_len > DOOR_PATH || q->value_len > DOOR_VALUE ||
        n != sizeof *q + q->path_len + q->second_len + q->value_len)
        return false;
    if (q->flags & ~known_flags(q->op) || (q->second_len > 0) != wants_second(q->op) ||
        (q->value_len > 0 && q->op != DOOR_SETXATTR))
        return false;
    const uint8_t *at = d->in.octets + sizeof *q;
    d->parts.value = at + q->path_len + q->second_len;
    return string(d->path, at, q->path_len) && string(d->second, at + q->path_len, q->second_len) &&
           d->path[0] == '/' &&
           (d->second[0] == '/' || (q->op != DOOR_RENAME && q->op != DOOR_LINK));
}

/* --- who asks --------------------------------------------------------------------------------------------------------------- */

static bool may_ask(const struct door *d, int connection) {
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0)
        return false;
    return who.uid == 0 || who.uid == d->app || d->app == 0;
}

/* --- a connection ----------------------------------------------------------------------------------------------------------- */

static void answer(int connection, int result, const uint8_t *body, uint32_t made, int fd) {
    struct door_answer head = {.result = result, .body_len = result < 0 ? 0 : made};
    struct iovec iov[2] = {{&head, sizeof head}, {(void *)(uintptr_t)body, head.body_len}};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};
    if (fd >= 0) {
        m.msg_control = control.room;
        m.msg_controllen = sizeof control.room;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    ssize_t n = sendmsg(connection, &m, MSG_NOSIGNAL);
    (void)n; /* who asked has gone */
}

static int done(struct door *d, struct desk *desk) {
    if (desk->in.ask.op != DOOR_WITHOUT_LAYER)
        return door_do(&desk->parts);
    atomic_fetch_add(&d->without_layer, 1);
    return 0;
}

/* A packet, and the descriptor that may come with it; of more than one the kernel closes all others. */
static ssize_t receive(struct desk *desk, int connection, int *given) {
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.room = {0}};
    struct iovec iov = {desk->in.octets, sizeof desk->in.octets};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.room,
                       .msg_controllen = sizeof control.room};
    ssize_t n = recvmsg(connection, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;
    *given = -1;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(given, CMSG_DATA(c), sizeof *given);
    return n;
}

static void serve(struct door *d, struct desk *desk, int connection) {
    int given;
    ssize_t n = receive(desk, connection, &given);
    if (n <= 0) {
        if (given >= 0)
            close(given);
        return;
    }
    desk->parts = (struct door_ask_parts){.fs = d->fs,
                                          .mount = d->mount,
                                          .watches = filesystem_watches(d->fs),
                                          .made_here = filesystem_made(d->fs),
                                          .given = given,
                                          .ask = &desk->in.ask,
                                          .path = desk->path,
                                          .second = desk->second,
                                          .body = desk->body,
                                          .fd = -1};
    int result = -EINVAL;
    if (is_sound(desk, (size_t)n))
        result = may_ask(d, connection) ? done(d, desk) : -EACCES;
    answer(connection, result, desk->body, desk->parts.made, desk->parts.fd);
    if (desk->parts.fd >= 0) {
        close(desk->parts.fd);
        atomic_fetch_add(&d->opened, 1);
    }
    if (given >= 0)
        close(given);
}

static void *run(void *arg);

/* Locked. 0, or an errno. */
static int add_thread(struct door *d) {
    int err = thread_start(&d->threads[d->running], STACK, false, run, d);
    d->running += err == 0;
    d->idle += err == 0;
    return err;
}

/* This one is at something, or no more. When none is left for who comes next, there is another. */
static void at_work(struct door *d, bool begins) {
    pthread_mutex_lock(&d->lock);
    d->idle += begins ? (uint32_t)-1 : 1;
    if (d->idle == 0 && d->running < DOOR_MOST && !d->closed)
        add_thread(d);
    pthread_mutex_unlock(&d->lock);
}

/* Its umask is its own and 0: modes come with the asker's taken off. */
static void *run(void *arg) {
    struct door *d = arg;
    struct desk *desk = malloc(sizeof *desk);
    const struct timeval patience = {.tv_sec = DOOR_PATIENCE / 1000,
                                     .tv_usec = DOOR_PATIENCE % 1000 * 1000};
    if (!desk || unshare(CLONE_FS) < 0)
        goto end;
    umask(0);
    for (;;) {
        int connection = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
        if (connection < 0 && errno == EINVAL)
            break; /* door_close */
        if (connection < 0) {
            usleep(errno == EMFILE || errno == ENFILE ? 10000 : 0); /* until others are closed */
            continue;
        }
        setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        at_work(d, true);
        serve(d, desk, connection);
        close(connection);
        at_work(d, false);
    }
end:
    free(desk);
    return NULL;
}

/* --- life ------------------------------------------------------------------------------------------------------------------- */

static int listen_here(struct fault *f) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, DOOR_NAME, DOOR_NAME_LEN);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + DOOR_NAME_LEN);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, len) == 0 && listen(fd, DOOR_WAITING) == 0)
        return fd;
    fault_set(f, errno, "listen at @%s", &DOOR_NAME[1]);
    if (fd >= 0)
        close(fd);
    return -1;
}

struct door *door_new(struct filesystem *fs, int mount, uid_t app, struct fault *f) {
    struct door *d = calloc(1, sizeof *d);
    if (!d) {
        fault_set(f, ENOMEM, "the files' door");
        return NULL;
    }
    d->fs = fs;
    d->mount = mount;
    d->app = app;
    pthread_mutex_init(&d->lock, NULL);
    d->listener = listen_here(f);
    if (d->listener >= 0)
        return d;
    free(d);
    return NULL;
}

int door_open(struct door *d, struct fault *f) {
    int err = 0;
    pthread_mutex_lock(&d->lock);
    while (d->running < DOOR_THREADS && !err)
        err = add_thread(d);
    pthread_mutex_unlock(&d->lock);
    if (!err)
        return 0;
    door_close(d);
    return fault_set(f, err, "start the threads of the files' door");
}

void door_close(struct door *d) {
    pthread_mutex_lock(&d->lock);
    d->closed = true;
    pthread_mutex_unlock(&d->lock);
    shutdown(d->listener, SHUT_RDWR); /* unix(7): whoever waits in accept is told EINVAL */
    for (uint32_t i = 0; i < d->running; i++)
        pthread_join(d->threads[i], NULL);
    d->running = 0;
}

void door_free(struct door *d) {
    close(d->listener);
    free(d);
}

uint64_t door_opened(struct door *d) {
    return atomic_load(&d->opened);
}

uint64_t door_without_layer(struct door *d) {
    return atomic_load(&d->without_layer);
}
