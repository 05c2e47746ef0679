/* What accepts in this namespace: polled from the kernel, told when it changed; and the last look before a SYN leaves. */
#pragma once

#include "native/addr.h"
#include "native/loop.h"
#include "native/sockdiag.h"
#include "native/view.h"

#include <stdbool.h>
#include <stddef.h>

#define LISTENERS_MAX       400 /* at most 8 octets each in one message */
#define LISTENERS_ADDRESSES 64

struct netstack;

struct listeners {
    struct timer timer;
    int diag; /* sock_diag; -1: none */
    uint64_t interval;
    bool told; /* the first look is told whatever it saw */
    size_t count;
    struct sockdiag_port ports[LISTENERS_MAX];
    struct endpoint not_udp; /* nobody took datagrams there: not asked again before `not_until` */
    uint64_t not_until;
    struct addr own[LISTENERS_ADDRESSES];
    size_t own_count;
};

void listeners_init(struct netstack *ns);
void listeners_set(struct netstack *ns, int diag, uint32_t interval_ms); /* takes it; -1: none */
void listeners_stop(struct netstack *ns);

/* Whether a SYN or datagram for an address of this machine belongs to somebody here by now. Then it has been sent back into
 * tun0, where the rules let it in (layer/rules.py, LEFT), and for a SYN "self" was told. */
bool listeners_own(struct netstack *ns, const struct ip_view *ip, const struct endpoint *app,
                   const struct endpoint *to);
