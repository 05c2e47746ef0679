/* The netstack as its files see it: one struct, its parts each with a header of its own. */
#pragma once

#include "layer/files/filesystem.h"
#include "layer/netstack/netstack.h"
#include "layer/netstack/accepted.h"
#include "layer/netstack/assoc.h"
#include "layer/netstack/events.h"
#include "layer/netstack/flow.h"
#include "layer/netstack/links.h"
#include "layer/netstack/listeners.h"
#include "layer/netstack/sight.h"
#include "layer/netstack/syn.h"
#include "layer/netstack/tun.h"

#include "native/fragments.h"
#include "native/outbox.h"

#include <pthread.h>
#include <stdatomic.h>

#define SYN_RTO                                                                                    \
    (1000 /                                                                                        \
     (2 *                                                                                          \
      TCP_TMR_INTERVAL)) /* lwIP's ticks: a client's SYN is sent again after a second (RFC 6298) */

struct netstack {
    struct loop *loop;
    struct outbox *outbox;
    struct tun tun;

    struct links links;  /* for packets, and for files where an agent has no other way for them */
    struct links filing; /* for files alone; its loop is NULL until there is one */
    pthread_t filing_thread;
    atomic_int last_link;
    struct filesystem *files; /* NULL: none are served */

    struct flow_table flows;
    struct chunk_pool chunks;
    struct tcp_pcb_listen *door;
    struct link_node ticking, acks, ends;
    uint32_t ticking_count;
    struct timer tick, ack, end;
    struct flow *outputs, *reap;
    struct task output_task, reap_task;

    struct assocs assocs;
    struct fragments *fragments;
    struct listeners listeners;
    struct accepted accepted;

    struct netstack_counters counters; /* those that are counted as they happen */
};
