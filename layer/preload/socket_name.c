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

static bool address_here(const struct place *p, struct socket_address *out) {
    char above[PATH_MAX];
    struct sockaddr_un *sa = &out->sa;
    out->len = sizeof *sa;
    if (p->len < sizeof sa->sun_path) {
        memcpy(sa->sun_path, p->path, p->len + 1);
        return true;
    }
    const char *last = strrchr(p->path, '/');
    memcpy(above, p->path, (size_t)(last - p->path));
    above[last - p->path] = '\0';
    out->folder = (int)raw(SYS_openat, AT_FDCWD, above, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct fd_name name = fd_name(out->folder);
    size_t n = strlen(name.text), rest = strlen(last);
    if (out->folder >= 0 && n + rest < sizeof sa->sun_path) {
        memcpy(sa->sun_path, name.text, n);
        memcpy(sa->sun_path + n, last, rest + 1);
        return true;
    }
    errno = out->folder < 0 ? errno : ENAMETOOLONG;
    socket_address_done(out);
    return false;
}

static bool address_there(const struct place *p, int type, struct socket_address *out) {
    struct ask a = {.head = {.op = DOOR_CONNECT, .size = (uint32_t)type},
                    .path = p->path,
                    .body = out->sa.sun_path,
                    .room = sizeof out->sa.sun_path};
    if (ask_door(&a) < 0)
        return false;
    out->len = (socklen_t)(SOCKET_HEAD + a.got);
    return true;
}

bool socket_address(const struct place *p, enum route route, int type, struct socket_address *out) {
    *out = (struct socket_address){.sa.sun_family = AF_UNIX, .folder = -1};
    return route == ROUTE_TARGET ? address_there(p, type, out) : address_here(p, out);
}

void socket_address_done(struct socket_address *a) {
    int why = errno;
    if (a->folder >= 0)
        raw(SYS_close, a->folder);
    errno = why;
}

int socket_call(long number, int fd, const struct place *p, enum route route, int type) {
    struct socket_address a;
    if (!socket_address(p, route, type, &a))
        return -1;
    int result = (int)raw(number, fd, &a.sa, a.len);
    socket_address_done(&a);
    return result;
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
