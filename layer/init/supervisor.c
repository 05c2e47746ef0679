#include "supervisor.h"

#include "serve.h"
#include "watchers.h"

#include "layer/preload/listener.h"
#include "layer/preload/place.h"
#include "layer/preload/raw.h"
#include "layer/preload/seccomp.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <unistd.h>

/* A call waits at the door while the link is cut, and then its thread waits with it: others are served by others. */
enum {
    THREADS = 64,
    LISTENERS = 4096,
    WAITING = 64,
    PATIENCE = 1,
    STAY_MS = 5,
    STACK = 256 * 1024
};

struct supervisor {
    int listening, epoll;
    const struct start *start;
    struct watchers *watchers;
    atomic_int idle, threads, listeners;
};

/* Held by epoll, and by each thread that serves one of its calls: the last closes. */
struct listener {
    int fd;
    atomic_int holders;
};

int supervisor_possible(struct fault *f) {
    uint32_t action = SECCOMP_RET_USER_NOTIF;
    struct utsname name;
    int major = 0, minor = 0;
    uname(&name);
    sscanf(name.release, "%d.%d", &major, &minor);
    if (major < 5 || (major == 5 && minor < 14))
        return fault_set(f, 0, "Linux %d.%d is older than 5.14", major, minor);
    if (raw(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0L, &action) != 0)
        return fault_set(f, errno, "the engine lets nobody listen to system calls");
    return 0;
}

int supervisor_listen(struct fault *f) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, LISTENER_NAME, LISTENER_NAME_LEN);
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + LISTENER_NAME_LEN;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, len) == 0 && listen(fd, WAITING) == 0)
        return fd;
    fault_set(f, errno, "listen at @%s", &LISTENER_NAME[1]);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* --- listeners that come ----------------------------------------------------------------------------------------------------- */

static int received(int sock) {
    union {
        struct cmsghdr align;
        char octets[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char word;
    int fd = -1;
    struct iovec part = {&word, 1};
    struct msghdr packet = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = control.octets,
                            .msg_controllen = sizeof control.octets};
    if (recvmsg(sock, &packet, MSG_CMSG_CLOEXEC) <= 0)
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&packet);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(&fd, CMSG_DATA(c), sizeof fd);
    return fd;
}

/* Whatever else somebody sends knows nothing of this request, or would have known the number 0. */
static bool is_listener(int fd) {
    uint64_t none = 0;
    return ioctl(fd, SECCOMP_IOCTL_NOTIF_ID_VALID, &none) < 0 && errno == ENOENT;
}

/* Each event is one thread's: who has it asks for the next. `l` NULL: the socket at which listeners come. */
static int watch(const struct supervisor *s, struct listener *l, int how) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = l};
    return epoll_ctl(s->epoll, how, l ? l->fd : s->listening, &e);
}

static void drop(struct supervisor *s, struct listener *l) {
    if (atomic_fetch_sub(&l->holders, 1) > 1)
        return;
    close(l->fd);
    free(l);
    atomic_fetch_sub(&s->listeners, 1);
}

static void add(struct supervisor *s, int fd) {
    struct listener *l = calloc(1, sizeof *l);
    if (!l) {
        close(fd);
        return;
    }
    l->fd = fd;
    ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
          SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP); /* faster, if it can be had */
    atomic_store(&l->holders, 1);
    atomic_fetch_add(&s->listeners, 1);
    if (watch(s, l, EPOLL_CTL_ADD) != 0)
        drop(s, l);
}

/* One at a time, a second at most for each: who is slow holds up who else starts a program without a layer, and nothing more. */
static void take(struct supervisor *s) {
    int sock = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
    const struct timeval patience = {.tv_sec = PATIENCE};
    const char word = LISTENER_READY;
    if (sock < 0)
        return;
    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (atomic_load(&s->listeners) < LISTENERS && send(sock, &word, 1, MSG_NOSIGNAL) == 1) {
        int fd = received(sock);
        if (fd >= 0 && is_listener(fd))
            add(s, fd);
        else if (fd >= 0)
            close(fd);
    }
    close(sock);
}

/* --- calls that come --------------------------------------------------------------------------------------------------------- */

/* What a thread has while it stays with a listener. */
struct stay {
    struct supervisor *supervisor;
    struct listener *listener;
    bool let_go;
};

/* Its next call is anybody's from now on. */
static void let_go(void *arg) {
    struct stay *stay = arg;
    if (!stay->let_go)
        watch(stay->supervisor, stay->listener, EPOLL_CTL_MOD);
    stay->let_go = true;
}

/* Who has served a call stays with its listener for a moment: calls come in rows, and epoll would cost more than most of them. It
 * lets go before it waits for the door. */
static void attend(struct supervisor *s, struct desk *d, struct listener *l, uint32_t events) {
    struct stay stay = {s, l, false};
    struct pollfd next = {.fd = l->fd, .events = POLLIN};
    atomic_fetch_add(&l->holders, 1);
    for (bool more = events & EPOLLIN; more && !stay.let_go;) {
        struct seccomp_notif asked = {0};                        /* the kernel insists */
        if (ioctl(l->fd, SECCOMP_IOCTL_NOTIF_RECV, &asked) == 0) /* else a signal was quicker */
            serve(d, l->fd, &asked, let_go, &stay);
        more = !stay.let_go && poll(&next, 1, STAY_MS) > 0 && next.revents & POLLIN;
    }
    if (events & EPOLLIN)
        let_go(&stay);
    else
        drop(s, l); /* epoll's: all that had this filter have ended */
    drop(s, l);
}

static int one_more(struct supervisor *s);

/* The groups are the app's for good, its user is whom it serves (caller.h). */
static void *run(void *arg) {
    struct supervisor *s = arg;
    struct desk *d = desk_new(s->watchers);
    raw(SYS_setgroups, s->start->group_count, s->start->groups);
    for (struct epoll_event e; d;) {
        atomic_fetch_add(&s->idle, 1);
        int n = epoll_wait(s->epoll, &e, 1, -1);
        if (atomic_fetch_sub(&s->idle, 1) == 1)
            one_more(s);
        if (n == 1 && !e.data.ptr) {
            take(s);
            watch(s, NULL, EPOLL_CTL_MOD);
        } else if (n == 1)
            attend(s, d, e.data.ptr, e.events);
    }
    return NULL;
}

static int one_more(struct supervisor *s) {
    pthread_t thread;
    pthread_attr_t attr;
    if (atomic_fetch_add(&s->threads, 1) >= THREADS) {
        atomic_fetch_sub(&s->threads, 1);
        return 0;
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int err = pthread_create(&thread, &attr, run, s);
    pthread_attr_destroy(&attr);
    if (err)
        atomic_fetch_sub(&s->threads, 1);
    return err;
}

int supervisor_start(int listening, const struct start *start, struct fault *f) {
    struct supervisor *s = calloc(1, sizeof *s);
    if (!s || !(s->watchers = watchers_make()))
        return fault_set(f, ENOMEM, "answer for programs without a layer");
    s->listening = listening;
    s->start = start;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    umask(0); /* each file that is made has its caller's taken off */
    int err = s->epoll < 0 || watch(s, NULL, EPOLL_CTL_ADD) != 0 ? errno : one_more(s);
    return err ? fault_set(f, err, "answer for programs without a layer") : 0;
}
