/* Sockets and watches by a path, one deed a run, each saying what it saw: linked statically it has no layer, else it has one.
 *
 * usage: named serve PATH | talk PATH | packets PATH | watch DIR | send PATH TEXT | pass PATH | pass-to PATH */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static struct sockaddr_un named(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return name;
}

/* Connected as that descriptor says it is still itself: its flags, who is at the other end, and what is said. */
static int talk(const char *path, int type) {
    struct sockaddr_un name = named(path);
    struct ucred who = {0};
    socklen_t len = sizeof who;
    char text[64] = "";
    int fd = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
    int done = connect(fd, (struct sockaddr *)&name, sizeof name), why = done ? errno : 0;
    printf("connect %d errno %d, ", done, why);
    printf("nonblock %d cloexec %d, ", !!(fcntl(fd, F_GETFL) & O_NONBLOCK), fcntl(fd, F_GETFD));
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (done == 0 && poll(&ready, 1, 10000) == 1)
        why = (int)read(fd, text, sizeof text - 1);
    printf("uid %d, said %s\n", done ? -1 : (int)who.uid, text);
    close(fd);
    return 0;
}

static int serve(const char *path) {
    struct sockaddr_un name = named(path);
    struct stat s = {0};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    umask(027);
    int done = bind(fd, (struct sockaddr *)&name, sizeof name);
    printf("bind %d errno %d, cloexec %d\n", done, done ? errno : 0, fcntl(fd, F_GETFD));
    done = bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name);
    printf("again %d errno %d\n", done, errno);
    printf("mode %o, listen %d\n", stat(path, &s) ? 0 : (unsigned)s.st_mode, listen(fd, 4));
    fflush(stdout);
    if (fork() == 0) {
        talk(path, SOCK_STREAM);
        fflush(stdout);
        _exit(0);
    }
    int visitor = accept(fd, NULL, NULL);
    if (write(visitor, "welcome", 7) != 7)
        return 1;
    close(visitor);
    wait(NULL);
    done = unlink(path);
    printf("unlink %d, then %d\n", done, access(path, F_OK));
    return 0;
}

/* What becomes of `DIR/made`, which it makes, and of others by it: by two inotifies, the second of which is as good. */
static int watch(const char *dir) {
    char path[256], events[4096];
    int first = inotify_init(), fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    printf("flags %d %d %d\n", fcntl(first, F_GETFD), fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    close(first);
    int watched = inotify_add_watch(fd, dir, IN_CREATE);
    printf("watch %d, the container's %d\n", watched, inotify_add_watch(fd, "/tmp", IN_CREATE));
    snprintf(path, sizeof path, "%s/made", dir);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    poll(&ready, 1, 10000);
    long n = read(fd, events, sizeof events);
    const struct inotify_event *e = (const void *)events;
    printf("event %d %s\n", n > 0 ? e->wd : -1, n > 0 ? e->name : "none");
    return unlink(path);
}

/* sendto(2), sendmsg(2) and a connected socket, each a datagram. */
static int send_each(const char *path, const char *text) {
    struct sockaddr_un name = named(path);
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr m = {
        .msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &part, .msg_iovlen = 1};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    long n = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&name, sizeof name);
    printf("sendto %ld errno %d, ", n, n < 0 ? errno : 0);
    n = sendmsg(fd, &m, 0);
    printf("sendmsg %ld errno %d, ", n, n < 0 ? errno : 0);
    int done = connect(fd, (struct sockaddr *)&name, sizeof name), why = done ? errno : 0;
    n = send(fd, text, strlen(text), 0);
    printf("connect %d errno %d, send %ld\n", done, why, n);
    return 0;
}

/* A descriptor, over a connection or with a datagram. */
static int pass(const char *path, int connected) {
    union {
        struct cmsghdr align;
        char octets[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct sockaddr_un name = named(path);
    struct iovec part = {"x", 1};
    struct msghdr m = {.msg_iov = &part,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    int fd = socket(AF_UNIX, connected ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (connected && connect(fd, (struct sockaddr *)&name, sizeof name) != 0)
        return 1;
    if (!connected) {
        m.msg_name = &name;
        m.msg_namelen = sizeof name;
    }
    long n = sendmsg(fd, &m, MSG_NOSIGNAL);
    printf("pass %ld errno %d\n", n, n < 0 ? errno : 0);
    char greeting[64];
    while (connected && read(fd, greeting, sizeof greeting) > 0)
        ;
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 98;
    if (strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (strcmp(argv[1], "talk") == 0)
        return talk(argv[2], SOCK_STREAM);
    if (strcmp(argv[1], "packets") == 0)
        return talk(argv[2], SOCK_SEQPACKET);
    if (strcmp(argv[1], "pass") == 0 || strcmp(argv[1], "pass-to") == 0)
        return pass(argv[2], strcmp(argv[1], "pass") == 0);
    if (strcmp(argv[1], "send") == 0)
        return send_each(argv[2], argc > 3 ? argv[3] : "");
    return strcmp(argv[1], "watch") == 0 ? watch(argv[2]) : 98;
}
