/* Blocking calls with a deadline by SO_RCVTIMEO: nothing else happens in the container while Start is on its way. */
#include "door.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 16 * 1024 * 1024, STEP_MS = 20 };

static int connect_once(void) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path + 1, DOOR_NAME, sizeof DOOR_NAME - 1);
    socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof DOOR_NAME);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&sa, n) == 0)
        return fd;
    int err = errno;
    close(fd);
    errno = err;
    return -1;
}

static int connect_patiently(unsigned patience_ms, struct fault *f) {
    for (unsigned waited = 0;; waited += STEP_MS) {
        int fd = connect_once();
        if (fd >= 0)
            return fd;
        if (errno != ECONNREFUSED || waited >= patience_ms)
            return fault_set(f, errno, "the bridge's door does not open");
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000L}, NULL);
    }
}

static int read_exactly(int fd, uint8_t *p, size_t n, struct fault *f) {
    while (n > 0) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fault_set(f, errno == EAGAIN ? ETIMEDOUT : errno,
                             "the bridge does not say what to run");
        if (got == 0)
            return fault_set(f, 0, "the session ended before the command could start");
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

static int converse(int fd, struct start *start, struct fault *f) {
    uint8_t hello[16], head[4];
    size_t n = start_hello(hello);
    if (send(fd, hello, n, MSG_NOSIGNAL) != (ssize_t)n)
        return fault_set(f, errno, "speak to the bridge");
    if (read_exactly(fd, head, sizeof head, f) != 0)
        return -1;
    uint32_t length =
        (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    if (length > FRAME_MAX)
        return fault_set(f, 0, "the bridge's answer is too long (%u octets)", length);
    uint8_t *body = malloc(length + 1);
    if (body == NULL)
        return fault_set(f, ENOMEM, "take the bridge's answer of %u octets", length);
    int result = read_exactly(fd, body, length, f) == 0 ? start_parse(body, length, start, f) : -1;
    free(body);
    return result;
}

int door_ask(unsigned patience_ms, struct start *start, struct fault *f) {
    int fd = connect_patiently(patience_ms, f);
    if (fd < 0)
        return -1;
    struct timeval limit = {.tv_sec = (time_t)(patience_ms / 1000)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (converse(fd, start, f) == 0)
        return fd;
    close(fd);
    return -1;
}
