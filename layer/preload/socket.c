/* Unix sockets by their path (unix(7)): one of the target's is reached from inside the target, one of the container's own copies
 * where that is. The program keeps its own socket: it is connected, or sends, to a name that the door has for the target's.
 *
 * Datagrams go there, and none comes back. Descriptors (SCM_RIGHTS) mean nothing there: EOPNOTSUPP. A socket is never made in the
 * target (EPERM): whoever listens there would be no program of its. */
#include "hook.h"
#include "socket_name.h"

#include "layer/files/door_words.h"

#include <string.h>

#include "libc.h"

/* ROUTE_OWN too for what is no path; from a folder of the target's the node that its kernel sees is no socket that it knows. */
static enum route find(struct place *p, const struct sockaddr *to, socklen_t len) {
    struct socket_path name;
    if (!socket_path_of(to, len, &name))
        return ROUTE_OWN;
    return place_find_of_two(p, AT_FDCWD, name.text, LOOKS);
}

static bool type_of(int fd, int *type) {
    socklen_t len = sizeof *type;
    return raw(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, type, &len) == 0;
}

EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len) {
    struct place p;
    int type = 0;
    enum route route = find(&p, to, len);
    if (route == ROUTE_OWN)
        return REAL(connect)(fd, to, len);
    if (route == ROUTE_FAILED || !type_of(fd, &type))
        return -1;
    return socket_call(SYS_connect, fd, &p, route, type);
}

EXPORT int bind(int fd, const struct sockaddr *to, socklen_t len) {
    struct place p;
    struct socket_path name;
    if (!socket_path_of(to, len, &name))
        return REAL(bind)(fd, to, len);
    switch (socket_place_to_bind(&p, name.text)) {
    case ROUTE_OWN:
        return REAL(bind)(fd, to, len);
    case ROUTE_HERE:
        return socket_call(SYS_bind, fd, &p, ROUTE_HERE, 0);
    default:
        return -1;
    }
}

/* --- sending ----------------------------------------------------------------------------------------------------------------- */

EXPORT ssize_t sendto(int fd, const void *octets, size_t n, int flags, const struct sockaddr *to,
                      socklen_t len) {
    struct place p;
    struct socket_address a;
    int type = 0;
    enum route route = find(&p, to, len);
    if (route == ROUTE_OWN)
        return REAL(sendto)(fd, octets, n, flags, to, len);
    if (route == ROUTE_FAILED || !type_of(fd, &type) || !socket_address(&p, route, type, &a))
        return -1;
    ssize_t done = REAL(sendto)(fd, octets, n, flags, (const struct sockaddr *)&a.sa, a.len);
    socket_address_done(&a);
    return done;
}

static bool has_rights(const struct msghdr *m) {
    struct msghdr all = *m;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&all); c; c = CMSG_NXTHDR(&all, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            return true;
    return false;
}

static bool is_connected_there(int fd) {
    struct sockaddr_un sa = {0};
    socklen_t len = sizeof sa;
    int before = errno;
    bool is = raw(SYS_getpeername, fd, &sa, &len) == 0 && sa.sun_family == AF_UNIX &&
              len >= SOCKET_HEAD + DOOR_SOCKET_LEN &&
              memcmp(sa.sun_path, DOOR_SOCKET, DOOR_SOCKET_LEN) == 0;
    errno = before;
    return is;
}

static ssize_t unsupported(void) {
    errno = EOPNOTSUPP;
    return -1;
}

EXPORT ssize_t sendmsg(int fd, const struct msghdr *m, int flags) {
    struct place p;
    struct socket_address a;
    int type = 0;
    if (!place_active() || !m || (!m->msg_name && !m->msg_controllen))
        return REAL(sendmsg)(fd, m, flags);
    enum route route = find(&p, m->msg_name, m->msg_namelen);
    bool there = route == ROUTE_TARGET || (route == ROUTE_OWN && !m->msg_name);
    if (there && has_rights(m) && (route == ROUTE_TARGET || is_connected_there(fd)))
        return unsupported();
    if (route == ROUTE_OWN)
        return REAL(sendmsg)(fd, m, flags);
    if (route == ROUTE_FAILED || !type_of(fd, &type) || !socket_address(&p, route, type, &a))
        return -1;
    struct msghdr other = *m;
    other.msg_name = &a.sa;
    other.msg_namelen = a.len;
    ssize_t done = REAL(sendmsg)(fd, &other, flags);
    socket_address_done(&a);
    return done;
}
