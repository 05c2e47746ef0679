/* Unix sockets by their path (unix(7)), for whoever connects or binds one: the layer, and mirror-init for programs without it.
 * What is connected or bound is the caller's socket to choose. */
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

/* connect(2) or bind(2), by its number, at a path of the container's, however long it is. */
int socket_call_here(long number, int fd, const struct place *p);

/* connect(2) to the target's socket, of a socket of this `type`: to a name that the door has for this once. */
int socket_call_target(int fd, int type, const struct place *p);

/* Where to bind: ROUTE_OWN, ROUTE_HERE, or ROUTE_FAILED with bind(2)'s errno; in the target a socket is never made (EPERM). */
enum route socket_place_to_bind(struct place *p, const char *path);
