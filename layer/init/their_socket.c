#include "their_socket.h"

#include "caller.h"

#include "layer/preload/by_rules.h"
#include "layer/preload/raw.h"
#include "layer/preload/socket_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "layer/preload/libc.h"

/* proc_net_unix(5): "Num: RefCount Protocol Flags Type St Inode Path", all but the inode in hexadecimal. 0: there is none. */
static int type_of_inode(unsigned long inode) {
    char line[512];
    unsigned type = 0;
    int found = 0;
    FILE *table = fopen("/proc/net/unix", "re");
    while (table && !found && fgets(line, sizeof line, table)) {
        unsigned long one = 0;
        if (sscanf(line, "%*s %*x %*x %*x %x %*x %lu", &type, &one) == 2 && one == inode)
            found = (int)type;
    }
    if (table)
        fclose(table);
    return found;
}

/* SOCK_STREAM and its like; 0: it is no Unix socket. */
static int type_of(int fd) {
    static const char socket_[] = "socket:[";
    char text[64];
    bool of_target;
    long n = fd < 0 ? -1 : place_descriptor(fd, text, sizeof text, &of_target);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    return strncmp(text, socket_, sizeof socket_ - 1) == 0
               ? type_of_inode(strtoul(text + sizeof socket_ - 1, NULL, 10))
               : 0;
}

/* Another socket of the type, as the caller's is. */
static int twin(int fd, int type) {
    int flags = caller_flags(fd);
    return (int)raw(SYS_socket, AF_UNIX, type | SOCK_CLOEXEC | (flags & O_NONBLOCK), 0);
}

static int done(int fd, int result) {
    int why = errno;
    if (result == 0)
        return fd;
    raw(SYS_close, fd);
    errno = why;
    return -1;
}

static int left(void) {
    place_left();
    return -1;
}

int their_socket_connect(int fd, const void *address, size_t len) {
    struct place p;
    struct socket_path name;
    if (!socket_path_of(address, len, &name))
        return left();
    enum route route = place_find_of_two(&p, AT_FDCWD, name.text, LOOKS);
    int type = route == ROUTE_HERE || route == ROUTE_TARGET ? type_of(fd) : 0;
    if (route == ROUTE_FAILED)
        return -1;
    if (!type)
        return left();
    int own = twin(fd, type);
    if (own < 0)
        return -1;
    place_waits(); /* a server of the app's may let it wait */
    return done(own, socket_call(SYS_connect, own, &p, route, type));
}

/* The mode that its name gets is the socket's own without the binder's umask. */
int their_socket_bind(int fd, const void *address, size_t len) {
    struct place p;
    struct socket_path name;
    if (!socket_path_of(address, len, &name))
        return left();
    enum route route = socket_place_to_bind(&p, name.text);
    int type = route == ROUTE_HERE ? type_of(fd) : 0;
    if (route == ROUTE_FAILED)
        return -1;
    if (!type)
        return left();
    int own = twin(fd, type);
    if (own < 0)
        return -1;
    raw(SYS_fchmod, own, 0777 & ~place_mask());
    return done(own, socket_call(SYS_bind, own, &p, ROUTE_HERE, type));
}
