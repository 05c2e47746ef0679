/* The far end of a data link, by hand: the frames that were said are counted and kept, frames are written from here. */
#pragma once

#include "check.h"
#include "mux_frame.h"
#include "span.h"

#include <errno.h>
#include <sys/socket.h>

struct far {
    int fd;
    size_t have; /* octets of a frame that is not whole yet */
    int opens, openeds, resets, datagrams, unreachables, eofs, acks; /* since far_clear */
    struct frame last[FRAME_ACK + 1]; /* by tag; payloads are not kept */
    uint32_t opened[8192];            /* the channels of the OPENs, in order */
};

/* Makes the pair; the near end's fd. */
static inline int far_make(struct far *f) {
    int fds[2], room = 4 * 1024 * 1024;
    *f = (struct far){0};
    EXPECT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    EXPECT(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
    f->fd = fds[1];
    return fds[0];
}

static inline void far_take(struct far *f, const struct frame *said) {
    f->last[said->tag] = *said;
    f->openeds += said->tag == FRAME_OPENED;
    f->resets += said->tag == FRAME_RESET;
    f->datagrams += said->tag == FRAME_DATAGRAM;
    f->unreachables += said->tag == FRAME_UNREACHABLE;
    f->eofs += said->tag == FRAME_EOF;
    f->acks += said->tag == FRAME_ACK;
    if (said->tag == FRAME_OPEN)
        f->opened[f->opens++ % 8192] = said->channel;
}

/* Reads what was said until now; the half of a frame waits for its rest. There is one far end in a test. */
static inline void far_hear(struct far *f) {
    static uint8_t in[8 * 1024 * 1024];
    ssize_t more;
    while (f->have < sizeof in && (more = read(f->fd, in + f->have, sizeof in - f->have)) > 0)
        f->have += (size_t)more;
    struct span s = span_of(in, f->have);
    for (struct span next = s; span_left(&next) > 0; s = next) {
        uint32_t len;
        const uint8_t *p;
        struct frame said;
        if (!span_u32(&next, &len) || !span_take(&next, len, &p))
            break;
        EXPECT(frame_read(p, len, &said) == NULL);
        far_take(f, &said);
    }
    f->have = span_left(&s);
    memmove(in, s.at, f->have);
}

static inline void far_write(struct far *f, const void *p, size_t n) {
    EXPECT(write(f->fd, p, n) == (ssize_t)n);
}

static inline void far_number(struct far *f, enum frame_tag tag, uint32_t channel,
                              uint32_t number) {
    uint8_t head[FRAME_HEAD];
    far_write(f, head, frame_number(head, tag, channel, number));
}

static inline void far_open(struct far *f, uint32_t channel, const struct channel_open *o) {
    uint8_t head[FRAME_HEAD];
    far_write(f, head, frame_open(head, channel, o));
}

static inline void far_datagram(struct far *f, uint32_t channel, const struct endpoint *peer,
                                const char *text) {
    uint8_t out[FRAME_HEAD + 64];
    size_t n = frame_datagram(out, channel, peer, strlen(text));
    memcpy(out + n, text, strlen(text));
    far_write(f, out, n + strlen(text));
}
