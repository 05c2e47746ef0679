/* Whether the kernel of a network namespace rewrites the addresses of a connection, asked of its connection tracking by
 * ctnetlink (linux/netfilter/nfnetlink_conntrack.h). One question, one answer; knows nothing of rules. */
#pragma once

#include "native/addr.h"
#include "native/fault.h"

#include <stddef.h>
#include <stdint.h>

/* `fd`: AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, born in that namespace. For the TCP connection that arrives from `peer` at
 * `own` (as a packet says, before any rewriting): 1 if its destination is rewritten, 0 if not or if it is not tracked, -1. */
int conntrack_redirects(int fd, const struct endpoint *own, const struct endpoint *peer,
                        struct fault *f);

/* For the connection whose answers go from `own` to `peer`: 1, and who really began it, if its source is rewritten; 0 if not,
 * or if it is not tracked; -1. */
int conntrack_origin(int fd, const struct endpoint *own, const struct endpoint *peer,
                     struct endpoint *origin, struct fault *f);

/* The question's octets, for the tests. `out` holds CONNTRACK_ASK; returns the length. */
#define CONNTRACK_ASK 192
size_t conntrack_question(uint8_t *out, const struct endpoint *own, const struct endpoint *peer,
                          uint32_t serial);
