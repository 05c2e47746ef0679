/* Unix sockets by their path (unix(7)), for whoever connects, binds or sends to one: the layer, and mirror-init for programs
 * without it. Which socket it is that does so is the caller's to choose. */
#pragma once

#include "place.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SOCKET_HEAD offsetof(struct sockaddr_un, sun_path)

struct socket_path {
    char text[sizeof((struct sockaddr_un *)0)->sun_path + 1];
};

/* False: of another family, without a name, or of one that is no path. */
bool socket_path_of(const void *address, size_t len, struct socket_path *out);

/* What a path's socket is called for the kernel here: after the call that is made with it, socket_address_done. */
struct socket_address {
    struct sockaddr_un sa;
    socklen_t len;
    int folder; /* by whose descriptor a path is named that is too long for an address; -1 */
};

/* Of where a place is: in the container, or, for a socket of this `type`, a name that the door has for the target's. False: errno. */
bool socket_address(const struct place *p, enum route route, int type, struct socket_address *out);
/* errno is as it was. */
void socket_address_done(struct socket_address *a);

/* connect(2) or bind(2), by its number. */
int socket_call(long number, int fd, const struct place *p, enum route route, int type);

/* Where to bind: ROUTE_OWN, ROUTE_HERE, or ROUTE_FAILED with bind(2)'s errno; in the target a socket is never made (EPERM). */
enum route socket_place_to_bind(struct place *p, const char *path);
