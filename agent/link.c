/* mirror-link: this process's stdin and stdout, joined to a Unix socket. It knows nothing of what passes.
 *
 *     mirror-link PATH            dials it
 *     mirror-link --serve PATH    listens there, for one connection
 *
 * The runner starts it in a container (docker exec -i), so that its links need no port. Dialling, half-close goes through
 * both ways: end of stdin shuts the socket's sending side, end of the socket closes stdout, and it ends when the socket has
 * ended, since nothing can come back after that. Serving, it ends as soon as either side has ended and what came before
 * that is passed on: such a connection goes on over a port-forward, which half-close does not cross.
 *
 * One buffer each way bounds the memory; a side that does not drain is not read from. Octets are copied, not spliced: that
 * carries several times what an engine's exec does on either side of it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { STEP_MS = 5, PATIENCE_MS = 10000 };

struct pipe_way {
    int from, to;
    size_t start, end; /* what waits in data */
    bool ended;        /* `from` has said its last */
    char data[262144];
};

static struct pipe_way up = {.from = STDIN_FILENO}, down = {.to = STDOUT_FILENO};

static int named(struct sockaddr_un *name, const char *path) {
    *name = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name->sun_path, path, strlen(path) + 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static int failed(int fd) {
    int err = errno;
    if (fd >= 0)
        close(fd);
    errno = err;
    return -1;
}

static int dial(const char *path) {
    struct sockaddr_un name;
    int fd = named(&name, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof name) < 0)
        return failed(fd);
    return fd;
}

/* The agent's container may have been started a moment ago: its socket is waited for, since only this program sees it. */
static int dial_patiently(const char *path) {
    for (int waited = 0;; waited += STEP_MS) {
        int fd = dial(path);
        if (fd >= 0 || (errno != ENOENT && errno != ECONNREFUSED) || waited >= PATIENCE_MS)
            return fd;
        poll(NULL, 0, STEP_MS);
    }
}

/* Bound under a name of its own and then given PATH: whoever has it, waiting or dead, has it no more, and between two of
 * these programs there is no moment without one that listens. */
static int listen_at(const char *path) {
    char own[sizeof((struct sockaddr_un *)0)->sun_path];
    if (snprintf(own, sizeof own, "%s.%ld", path, (long)getpid()) >= (int)sizeof own) {
        errno = ENAMETOOLONG;
        return -1;
    }
    struct sockaddr_un name;
    int fd = named(&name, own);
    if (fd < 0)
        return -1;
    umask(0177);
    unlink(own);
    if (bind(fd, (struct sockaddr *)&name, sizeof name) < 0)
        return failed(fd);
    if (listen(fd, 1) < 0 || rename(own, path) < 0) {
        failed(-1);
        unlink(own);
        return failed(fd);
    }
    return fd;
}

/* Unless the name is another's by now. */
static void unlink_own(const char *path, const struct stat *made) {
    struct stat there;
    if (lstat(path, &there) == 0 && there.st_ino == made->st_ino && there.st_dev == made->st_dev)
        unlink(path);
}

/* One connection, or -1: with errno 0 when whoever started this has gone meanwhile. */
static int serve(const char *path) {
    struct stat made;
    int fd = listen_at(path);
    if (fd < 0 || lstat(path, &made) < 0)
        return failed(fd);
    struct pollfd fds[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLRDHUP},
    };
    int sock = -1;
    errno = 0;
    while (sock < 0 && !fds[1].revents)
        if (poll(fds, 2, -1) > 0 && fds[0].revents) {
            sock = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
            if (sock < 0 && errno != EINTR && errno != ECONNABORTED)
                break;
        }
    int err = fds[1].revents && sock < 0 ? 0 : errno;
    unlink_own(path, &made);
    close(fd);
    errno = err;
    return sock;
}

/* -1: this way is broken. EAGAIN cannot spin: the fds block, and are touched only after poll named them. */
static int fill(struct pipe_way *way) {
    ssize_t n = read(way->from, way->data, sizeof way->data);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    way->start = 0;
    way->end = (size_t)n;
    way->ended = n == 0;
    return 0;
}

static int drain(struct pipe_way *way) {
    ssize_t n = write(way->to, way->data + way->start, way->end - way->start);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    way->start += (size_t)n;
    return 0;
}

static short wanted(const struct pipe_way *way, bool reading) {
    bool waiting = way->start < way->end;
    if (reading)
        return !waiting && !way->ended ? POLLIN : 0;
    return waiting ? POLLOUT : 0;
}

static bool done(const struct pipe_way *way) {
    return way->ended && way->start == way->end;
}

/* `whole`: the end of stdin is the end of all. */
static int relay(int sock, bool whole) {
    up.to = down.from = sock;
    bool shut = false;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = wanted(&up, true) ? STDIN_FILENO : -1, .events = POLLIN},
            {.fd = wanted(&down, false) ? STDOUT_FILENO : -1, .events = POLLOUT},
            {.fd = sock, .events = (short)(wanted(&down, true) | wanted(&up, false))},
        };
        if (poll(fds, 3, -1) < 0 && errno != EINTR)
            return -1;
        if (fds[0].revents && fill(&up) < 0)
            return -1;
        if (fds[1].revents && drain(&down) < 0)
            return -1;
        if (fds[2].revents & POLLOUT && drain(&up) < 0)
            return -1;
        if (fds[2].revents & (POLLIN | POLLHUP | POLLERR) && wanted(&down, true) && fill(&down) < 0)
            return -1;
        if (done(&up) && !shut) {
            if (whole)
                return 0;
            shutdown(sock, SHUT_WR);
            shut = true;
        }
        if (done(&down))
            return 0;
    }
}

/* So that no write waits while there is something to read; and large, because each hand-over costs a switch of tasks. */
static void make_ready(int fd) {
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    fcntl(fd, F_SETPIPE_SZ,
          1 << 20); /* refused where it is no pipe, or the user has had his share */
    int room = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

int main(int argc, char **argv) {
    bool serving = argc == 3 && strcmp(argv[1], "--serve") == 0;
    if (!serving && (argc != 2 || argv[1][0] == '-')) {
        fprintf(stderr, "usage: mirror-link [--serve] PATH\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    const char *path = argv[argc - 1];
    int sock = serving ? serve(path) : dial_patiently(path);
    if (sock < 0 && errno == 0)
        return 0;
    if (sock < 0) {
        fprintf(stderr, "mirror-link: %s %s: %s\n", serving ? "listen at" : "connect", path,
                strerror(errno));
        return 1;
    }
    make_ready(STDIN_FILENO);
    make_ready(STDOUT_FILENO);
    make_ready(sock);
    return relay(sock, serving) < 0 ? 1 : 0;
}
