/* connect(2) and bind(2) to a path for a program without a layer: its socket is out of reach (pidfd_getfd(2) is what engines forbid),
 * so a socket of the same type is connected or bound by us and takes its number.
 *
 * What was set on the old one before is lost but for O_NONBLOCK and close-on-exec, and an epoll that had it has it no more:
 * programs set such things on what is connected. Rejected: another address written over the caller's, which may be a constant, or
 * used again. */
#pragma once

#include <stddef.h>

/* A descriptor for the place of the caller's `fd`, or -1 and errno; or it is left to the caller. */
int their_socket_connect(int fd, const void *address, size_t len);
int their_socket_bind(int fd, const void *address, size_t len);
