/* What accepts in this namespace: polled from the kernel, told when it changed; and the last look before a SYN leaves. */
#pragma once

#include "native/addr.h"
#include "native/loop.h"
#include "native/sockdiag.h"

#include <stdbool.h>
#include <stddef.h>

#define LISTENERS_MAX 400 /* at most 8 octets each in one message; more than a program listens on */
#define LISTENERS_ADDRESSES 64

struct netstack;

struct listeners {
    struct timer timer;
    int diag; /* sock_diag; -1: none */
    uint64_t interval;
    bool told; /* the first look is told whatever it saw */
    size_t count;
    struct sockdiag_port ports[LISTENERS_MAX];
    struct addr own[LISTENERS_ADDRESSES];
    size_t own_count;
};

void listeners_init(struct netstack *ns);
void listeners_set(struct netstack *ns, int diag, uint32_t interval_ms); /* takes the fd; -1: none */
void listeners_stop(struct netstack *ns);

/* Whether a SYN to `to`, an address of this machine, must stay here because somebody accepts by now: told as "self". */
bool listeners_own(struct netstack *ns, const struct endpoint *to);
