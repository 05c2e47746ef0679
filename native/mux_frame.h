/* The frames of a data link, written and read: octets in, fields out; knows no channel and no socket.
 *
 * `wire/messages.py` defines them (tags 64 to 72, and Goodbye); the octets are those of its Python codec.
 */
#pragma once

#include "addr.h"
#include "mux.h"

#include <stddef.h>
#include <stdint.h>

enum frame_tag {
    FRAME_GOODBYE = 3,
    FRAME_OPEN = 64,
    FRAME_OPENED = 65,
    FRAME_DATA = 66,
    FRAME_GRANT = 67,
    FRAME_EOF = 68,
    FRAME_RESET = 69,
    FRAME_DATAGRAM = 70,
    FRAME_UNREACHABLE = 71,
    FRAME_ACK = 72,
};

enum {
    FRAME_LENGTH = 4, /* the length word */
    FRAME_HEAD = 96,  /* length word and all fields but the payload: OPEN, the longest, has 64 */
    FRAME_GOODBYE_MAX = 256,
};

/* What a frame says. Which fields are set depends on the tag; pointers are into the frame that was read. */
struct frame {
    uint32_t tag;
    uint32_t channel;
    uint32_t octets;          /* GRANT, OPENED (its window) */
    int err;                  /* RESET, UNREACHABLE */
    uint64_t received;        /* ACK */
    struct channel_open open; /* OPEN */
    struct endpoint peer;     /* DATAGRAM, UNREACHABLE */
    const uint8_t *payload;   /* DATA, DATAGRAM; GOODBYE: its sentence */
    uint32_t payload_len;
};

/* `p`, `n`: one frame without its length word. NULL if it is a frame, else what is wrong with it. */
const char *frame_read(const uint8_t *p, size_t n, struct frame *out);

/* Each writes the length word and all fields but the payload to `out`, and returns their length. `n`: the payload's. */
size_t frame_open(uint8_t out[FRAME_HEAD], uint32_t channel, const struct channel_open *o);
size_t frame_data(uint8_t out[FRAME_HEAD], uint32_t channel, size_t n);
size_t frame_datagram(uint8_t out[FRAME_HEAD], uint32_t channel, const struct endpoint *peer,
                      size_t n);
size_t frame_unreachable(uint8_t out[FRAME_HEAD], uint32_t channel, const struct endpoint *peer,
                         int err);
size_t frame_number(uint8_t out[FRAME_HEAD], enum frame_tag tag, uint32_t channel,
                    uint32_t number); /* OPENED, GRANT, RESET */
size_t frame_eof(uint8_t out[FRAME_HEAD], uint32_t channel);
size_t frame_ack(uint8_t out[FRAME_HEAD], uint64_t received);
size_t frame_goodbye(uint8_t out[FRAME_GOODBYE_MAX], const char *reason);
