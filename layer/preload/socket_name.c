#include "socket_name.h"

#include "ask.h"
#include "raw.h"
#include "upper.h"

#include <errno.h>
#include <string.h>

#include "libc.h"

bool socket_path_of(const void *address, size_t len, struct socket_path *out) {
    const struct sockaddr_un *sa = address;
    if (!sa || len <= SOCKET_HEAD || len > sizeof *sa || sa->sun_family != AF_UNIX ||
        !sa->sun_path[0])
        return false;
    memcpy(out->text, sa->sun_path, len - SOCKET_HEAD); /* which need not end in a NUL */
    out->text[len - SOCKET_HEAD] = '\0';
    return true;
}

/* A path that is too long for an address goes by its folder's descriptor. *folder: to be closed. */
static bool address_of(const struct place *p, struct sockaddr_un *sa, int *folder) {
    char above[PATH_MAX];
    *folder = -1;
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (p->len < sizeof sa->sun_path) {
        memcpy(sa->sun_path, p->path, p->len + 1);
        return true;
    }
    const char *last = strrchr(p->path, '/');
    memcpy(above, p->path, (size_t)(last - p->path));
    above[last - p->path] = '\0';
    *folder = (int)raw(SYS_openat, AT_FDCWD, above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct fd_name name = fd_name(*folder);
    size_t n = strlen(name.text), rest = strlen(last);
    if (*folder >= 0 && n + rest < sizeof sa->sun_path) {
        memcpy(sa->sun_path, name.text, n);
        memcpy(sa->sun_path + n, last, rest + 1);
        return true;
    }
    errno = *folder < 0 ? errno : ENAMETOOLONG;
    return false;
}

int socket_call_here(long number, int fd, const struct place *p) {
    struct sockaddr_un sa;
    int folder, result = -1;
    if (address_of(p, &sa, &folder))
        result = (int)raw(number, fd, &sa, sizeof sa);
    int why = errno;
    if (folder >= 0)
        raw(SYS_close, folder);
    errno = why;
    return result;
}

int socket_call_target(int fd, int type, const struct place *p) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (type != SOCK_STREAM) {
        errno = EPROTOTYPE; /* as connect(2) has it where a stream listens */
        return -1;
    }
    struct ask a = {
        .head.op = DOOR_CONNECT, .path = p->path, .body = sa.sun_path, .room = sizeof sa.sun_path};
    if (ask_door(&a) < 0)
        return -1;
    return (int)raw(SYS_connect, fd, &sa, SOCKET_HEAD + a.got);
}

enum route socket_place_to_bind(struct place *p, const char *path) {
    enum route route = place_find_of_two(p, AT_FDCWD, path, MAKES);
    if (route == ROUTE_TARGET) {
        errno = EPERM; /* who listens there would be no program of the target's */
        return ROUTE_FAILED;
    }
    if (route == ROUTE_FAILED && errno == EEXIST) {
        if (upper_is_socket(p) && upper_hide(p))
            return ROUTE_HERE;
        errno = EADDRINUSE; /* what is there already is said in bind(2)'s word */
    }
    return route;
}
