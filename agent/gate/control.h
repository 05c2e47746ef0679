/* The gate's words with the agent's Python: what is wanted comes in, what became of it goes out. Packets (SOCK_SEQPACKET), few
 * and short; knows what they look like and not what they mean.
 *
 *     [1, serial, …] want   [2, seconds] drain        [16, 0] ready   [17, serial] applied   [18, errno, sentence] failed
 *     [19, session, port, seen, matched, stolen, older, tls, last line] counts          [20, reset] drained */
#pragma once

#include "agent/gate/want.h"
#include "native/loop.h"

#define CONTROL_PACKET (128 * 1024) /* octets of what is wanted at most */
#define CONTROL_LINE   200

struct control_counts {
    uint64_t session;
    uint64_t seen, matched, stolen, older,
        tls; /* connections; of filters: requests seen, requests that matched */
    uint16_t port;
    char line[CONTROL_LINE + 1]; /* the last request line that no filter matched; or empty */
};

struct control {
    struct loop *loop;
    struct loop_fd io;
    void (*want)(struct control *c, struct want *w);           /* the want is the callee's now */
    void (*refused)(struct control *c, const struct fault *f); /* a want that could not be read */
    void (*drain)(struct control *c, uint64_t seconds);
    void (*gone)(struct control *c); /* the agent is */
    uint8_t packet[CONTROL_PACKET];
};

/* The functions and `fd` stay as they are until control_close. */
int control_open(struct control *c, struct loop *loop, int fd, struct fault *f);
void control_close(struct control *c);

void control_ready(struct control *c);
void control_applied(struct control *c, uint64_t serial);
void control_drained(struct control *c, uint64_t reset);
/* False: the agent does not take it now; the counts are told later. */
bool control_counts(struct control *c, const struct control_counts *n);
void control_failed(int fd, const struct fault *f); /* also before there is a loop */
