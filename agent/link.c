/* mirror-link: this process's stdin and stdout, joined to a Unix socket. It knows nothing of what passes.
 *
 *     mirror-link PATH
 *
 * The runner starts it in the agent's container (docker exec -i), so that its control link needs no port. Half-close goes
 * through both ways: end of stdin shuts the socket's sending side, end of the socket closes stdout, and it ends when the
 * socket has ended, since nothing can come back after that. One buffer each way bounds the memory; a side that does not
 * drain is not read from. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { STEP_MS = 5, PATIENCE_MS = 10000 };

struct pipe_way {
    int from, to;
    size_t start, end; /* what waits in data */
    bool ended;        /* `from` has said its last */
    char data[65536];
};

static struct pipe_way up = {.from = STDIN_FILENO}, down = {.to = STDOUT_FILENO};

static int dial(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof name.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
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

static int relay(int sock) {
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
        if (up.ended && up.start == up.end && !shut) {
            shutdown(sock, SHUT_WR);
            shut = true;
        }
        if (down.ended && down.start == down.end)
            return 0;
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: mirror-link PATH\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    int sock = dial_patiently(argv[1]);
    if (sock < 0) {
        fprintf(stderr, "mirror-link: connect %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    return relay(sock) < 0 ? 1 : 0;
}
