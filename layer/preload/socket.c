/* Unix sockets by their path (unix(7)): one of the target's is connected to from inside the target, one of the container's own
 * copies where that is. The program keeps its own socket: it is connected to a name that the door has for this once.
 *
 * A socket is never made in the target (EPERM): whoever listens there would be no program of its. */
#include "hook.h"
#include "socket_name.h"

#include "libc.h"

static int connect_at_door(int fd, const struct place *p) {
    int type = 0;
    socklen_t len = sizeof type;
    if (raw(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return -1;
    return socket_call_target(fd, type, p);
}

/* From a folder of the target's too: the node that its kernel sees there is no socket that it knows. */
EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len) {
    struct place p;
    struct socket_path name;
    if (!socket_path_of(to, len, &name))
        return REAL(connect)(fd, to, len);
    switch (place_find_of_two(&p, AT_FDCWD, name.text, LOOKS)) {
    case ROUTE_OWN:
        return REAL(connect)(fd, to, len);
    case ROUTE_HERE:
        return socket_call_here(SYS_connect, fd, &p);
    case ROUTE_TARGET:
        return connect_at_door(fd, &p);
    case ROUTE_FAILED:
        break;
    }
    return -1;
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
        return socket_call_here(SYS_bind, fd, &p);
    default:
        return -1;
    }
}
