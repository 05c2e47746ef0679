/* What the files of the mirror share: mirror.c (ports, packets in); mirror_tcp.c, mirror_table.c and mirror_channel.c
 * (connections); mirror_sieve.c (of them, what a filter
 * chooses); mirror_udp.c (datagrams). */
#pragma once

#include "agent/mirror.h"
#include "agent/reassembly.h"
#include "agent/sniff.h"
#include "agent/verdict.h"
#include "native/view.h"

/* A port that is wanted, or was wanted and still has open connections. Stays where it is: connections point at it. */
struct mirrored_port {
    struct mirror_port port;
    bool wanted;
    uint32_t live; /* attached channels of connections; datagrams keep no port open */
    struct mirror_seen seen;
    struct mirrored_port *next;
};

struct mirror_tcp;
struct mirror_udp;

struct mirror {
    struct loop *loop;
    struct mux *mux;                  /* NULL: the link has gone */
    struct mirror_rate *rate;         /* NULL: none */
    const struct http_filter *filter; /* NULL: everything is copied */
    const uint32_t *most; /* channels of the session at a time; NULL, or 0 there: no limit */
    uint32_t target;
    bool (*owns)(void *ctx, const struct endpoint *e);
    void *ctx;
    struct sniff *sniff;
    struct verdict *verdict;
    struct mirrored_port *ports;
    struct mirror_counters counters;
    struct mirror_tcp *tcp;
    struct mirror_udp *udp;
    struct timer chores; /* while there is something that can expire */
    struct timer narrow; /* makes the filter anew when an unwanted port has lost its last one */
    struct fault fault;
};

#define MIRROR_SECOND (1000ull * 1000 * 1000)

struct mirrored_port *mirror_port_find(const struct mirror *m, uint8_t proto, uint16_t target_port);
void mirror_port_left(struct mirror *m, struct mirrored_port *p); /* one attached channel fewer */
void mirror_chores_soon(struct mirror *m);
bool mirror_is_full(const struct mirror *m); /* the session has as many channels as it may */

struct mirror_tcp *mirror_tcp_new(struct mirror *m);
void mirror_tcp_free(struct mirror_tcp *t);
void mirror_tcp_packet(struct mirror_tcp *t, const struct sniff_packet *p,
                       const struct ip_view *ip);
void mirror_tcp_flush(struct mirror_tcp *t); /* after a batch of packets */
/* After that: ends what is too much, of whichever of the session's targets. */
void mirror_tcp_limit(struct mirror_rate *rate, uint64_t now);
void mirror_tcp_port_gone(struct mirror_tcp *t,
                          struct mirrored_port *p); /* forget all that points at it */
bool mirror_tcp_expire(struct mirror_tcp *t,
                       uint64_t now); /* whether there is anything left to expire */

struct mirror_udp *mirror_udp_new(struct mirror *m);
void mirror_udp_free(struct mirror_udp *u);
void mirror_udp_packet(struct mirror_udp *u, const struct sniff_packet *p,
                       const struct ip_view *ip);
void mirror_udp_port_gone(struct mirror_udp *u, struct mirrored_port *p);
uint64_t mirror_udp_lost(const struct mirror_udp *u);
bool mirror_udp_expire(struct mirror_udp *u, uint64_t now);
