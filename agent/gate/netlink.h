/* Writes netlink messages into a buffer: headers, attributes, nests. Knows no subsystem and no socket.
 *
 * Messages are built once or for each connection, never from what a peer sent, so a buffer that is too small is our bug. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct nl_writer {
    uint8_t *base;
    size_t n, size;
};

/* A message of nfnetlink (linux/netfilter/nfnetlink.h): both headers. Returns where it began, for nl_end. */
size_t nl_begin(struct nl_writer *w, uint16_t type, uint16_t flags, uint8_t family,
                uint16_t resource);
void nl_end(struct nl_writer *w, size_t at);

void nl_put(struct nl_writer *w, uint16_t type, const void *p, size_t n);
void nl_put_u8(struct nl_writer *w, uint16_t type, uint8_t v);
void nl_put_be16(struct nl_writer *w, uint16_t type, uint16_t v);
void nl_put_be32(struct nl_writer *w, uint16_t type, uint32_t v);
size_t nl_nest(struct nl_writer *w, uint16_t type);
void nl_unnest(struct nl_writer *w, size_t at);
