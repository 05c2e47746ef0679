/* What sockets a network namespace has, asked of the kernel by sock_diag(7) on a socket that was born in it. */
#pragma once

#include "addr.h"
#include "fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sockdiag_port {
    uint8_t proto;    /* IPPROTO_TCP (listening) or IPPROTO_UDP (bound, not connected) */
    uint8_t loopback; /* only 127.0.0.0/8 or ::1 reaches it */
    uint16_t port;
    uint8_t family; /* 4, 6; 10 for a v6 wildcard socket that takes v4 too */
    uint8_t pad[3];
};

/* A NETLINK_SOCK_DIAG fd, CLOEXEC, in the caller's network namespace. */
int sockdiag_open(struct fault *f);

/* TCP in LISTEN and UDP unconnected, sorted and without doubles; at most `capacity`. Their number, or -1. */
int sockdiag_listening(int fd, struct sockdiag_port *out, size_t capacity, struct fault *f);

/* Whether there is a TCP socket (any state but LISTEN; TIME_WAIT counts) with exactly these ends. 1, 0, or -1. */
int sockdiag_has_tcp(int fd, const struct endpoint *own, const struct endpoint *peer,
                     struct fault *f);

/* How far the server's side of a TCP connection is. One that nobody has accepted has no inode: its octets lie unread. */
enum sockdiag_server {
    SOCKDIAG_NONE, /* no such connection */
    SOCKDIAG_SHAKING, /* its handshake is not over; under TCP_DEFER_ACCEPT it is only with the first octets */
    SOCKDIAG_WAITS,    /* in its listener's queue */
    SOCKDIAG_ACCEPTED, /* some process has it, or had */
};

/* Of the connection whose server's end is `own`: an enum sockdiag_server, or -1. */
int sockdiag_server(int fd, const struct endpoint *own, const struct endpoint *peer,
                    struct fault *f);

/* Whether a UDP socket takes what `peer` sends to `own`: a connected one counts for its own peer alone. 1, 0, or -1. */
int sockdiag_takes_udp(int fd, const struct endpoint *own, const struct endpoint *peer,
                       struct fault *f);

/* Whether a TCP socket listens (or a UDP socket is bound) where `own` is delivered: its address or a wildcard. 1, 0, -1. */
int sockdiag_accepts(int fd, uint8_t proto, const struct endpoint *own, struct fault *f);
