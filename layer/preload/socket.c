/* Unix sockets by their path (unix(7)): one of the target's is connected to from inside the target, one of the container's own
 * copies where that is. The program keeps its own socket: it is connected to a name that the door has for this once.
 *
 * Only streams reach the target. A socket is never made in it (EPERM): whoever listens there would be no program of its. */
#include "hook.h"
#include "upper.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "libc.h"

#define HEAD offsetof(struct sockaddr_un, sun_path)

struct named {
    char text[sizeof((struct sockaddr_un *)0)->sun_path + 1];
};

/* False: of another family, without a name, or of one that is no path. */
static bool path_of(const struct sockaddr *to, socklen_t len, struct named *out) {
    const struct sockaddr_un *sa = (const void *)to;
    if (!to || len <= HEAD || len > sizeof *sa || to->sa_family != AF_UNIX || !sa->sun_path[0])
        return false;
    memcpy(out->text, sa->sun_path, len - HEAD); /* which need not end in a NUL */
    out->text[len - HEAD] = '\0';
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

static int call_here(long number, int fd, const struct place *p) {
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

static int connect_at_door(int fd, const struct place *p) {
    int type = 0;
    socklen_t len = sizeof type;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    if (raw(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -1;
    if (type != SOCK_STREAM) {
        errno = EPROTOTYPE; /* as connect(2) has it where a stream listens */
        return -1;
    }
    struct ask a = {
        .head.op = DOOR_CONNECT, .path = p->path, .body = sa.sun_path, .room = sizeof sa.sun_path};
    if (ask_door(&a) < 0)
        return -1;
    return (int)raw(SYS_connect, fd, &sa, HEAD + a.got);
}

EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len) {
    struct place p;
    struct named name;
    if (!path_of(to, len, &name))
        return REAL(connect)(fd, to, len);
    ROUTED(p, AT_FDCWD, name.text, LOOKS, REAL(connect)(fd, to, len),
           call_here(SYS_connect, fd, &p), connect_at_door(fd, &p));
}

static int bind_in_target(void) {
    errno = EPERM;
    return -1;
}

/* What is there already is said in bind(2)'s word. */
static int refused(void) {
    errno = errno == EEXIST ? EADDRINUSE : errno;
    return -1;
}

EXPORT int bind(int fd, const struct sockaddr *to, socklen_t len) {
    struct place p;
    struct named name;
    if (!path_of(to, len, &name))
        return REAL(bind)(fd, to, len);
    switch (place_find(&p, AT_FDCWD, name.text, MAKES)) {
    case ROUTE_OWN:
        return REAL(bind)(fd, to, len);
    case ROUTE_HERE:
        return call_here(SYS_bind, fd, &p);
    case ROUTE_TARGET:
        return bind_in_target();
    case ROUTE_FAILED:
        break;
    }
    if (errno == EEXIST && upper_is_socket(&p) && upper_hide(&p))
        return call_here(SYS_bind, fd, &p);
    return refused();
}
