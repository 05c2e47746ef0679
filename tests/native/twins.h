/* A client and servers of HTTP/2 (nghttp2's sessions) as the parties of a play: they judge what the exchange tells them, windows
 * and header compression included. A server echoes each body while it comes, and ends with trailers. */
#pragma once

#include "play.h"

#include <nghttp2/nghttp2.h>

#define TWIN_STREAMS 512

/* One stream as a peer saw it. */
struct seen {
    struct octets fields; /* "name: value\n" in order; trailers behind "--\n" */
    struct octets body;
    bool began, ended, reset;
    uint32_t code;
    /* what it says itself */
    size_t size, at;        /* the client's body */
    bool trailers, streams; /* streams: more may be added, until `last` */
    bool last;
    size_t echoed;
};

struct twin {
    struct play *y;
    unsigned party;
    const char *name;
    nghttp2_session *session;
    struct seen stream[TWIN_STREAMS]; /* by id / 2 */
    struct octets sent;               /* all octets it ever said */
    size_t split;
    bool silent;            /* answers nothing before twin_answer() */
    unsigned going;         /* GOAWAYs with an error */
    unsigned pings, pinged; /* answered, and asked for */
};

void twin_client(struct twin *t, struct play *y, const nghttp2_settings_entry *set, size_t n);
void twin_client_padded(struct twin *t, struct play *y, nghttp2_select_padding_callback pad);
void twin_server(struct twin *t, struct play *y, unsigned party, const char *name,
                 const nghttp2_settings_entry *set, size_t n);
void twin_free(struct twin *t);
/* A request: "x-for: who" if it is given; a body of so many octets; the stream's number. */
int32_t twin_ask(struct twin *t, const char *path, const char *who, size_t body, bool trailers);
/* Everything moves until nobody has anything to say. */
void twins_move(struct twin **all, size_t n);
uint8_t twin_octet(int32_t id, size_t at);
struct seen *twin_seen(struct twin *t, int32_t id);
/* Whether the client got its own body back, whole, from that server. */
void twin_expect(struct twin *client, int32_t id, const char *from, size_t body);
