/* What of lwIP is compiled, and how large: TCP alone; IP, timers and interfaces are ours (ip.c).
 *
 * Sizes are for one link without loss, the tun device: what bounds memory are the windows, not pools. */
#pragma once

#define NO_SYS               1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_TIMERS          0
#define LWIP_NETCONN         0
#define LWIP_SOCKET          0

#define LWIP_IPV4                       1
#define LWIP_IPV6                       1
#define LWIP_IPV6_SCOPES                0 /* an address of the link counts without its zone: there is one link */
#define LWIP_SINGLE_NETIF               1
#define LWIP_ARP                        0
#define LWIP_ETHERNET                   0
#define LWIP_ICMP                       0
#define LWIP_ICMP6                      0
#define LWIP_RAW                        0
#define LWIP_UDP                        0
#define LWIP_DNS                        0
#define IP_REASSEMBLY                   0
#define IP_FRAG                         0
#define LWIP_IPV6_FRAG                  0
#define LWIP_IPV6_REASS                 0
#define LWIP_IPV6_MLD                   0
#define LWIP_ND6_QUEUEING               0
#define LWIP_ND6_TCP_REACHABILITY_HINTS 0
#define LWIP_STATS                      0

#define MEM_LIBC_MALLOC          1
#define MEMP_MEM_MALLOC          1
#define MEM_ALIGNMENT            8
#define LWIP_SUPPORT_CUSTOM_PBUF 1 /* a packet from tun0 is a pbuf where it was read */
#define PBUF_LINK_HLEN           0
#define PBUF_POOL_FREE_OOSEQ     0

#define LWIP_TCP 1
#define TCP_MSS                                                                                    \
    65480 /* MTU 65520 less 40; with IPv6 the app's kernel announces the 20 octets less that it takes */
#define TCP_CALCULATE_EFF_SEND_MSS 0
#define LWIP_WND_SCALE             1
#define TCP_RCV_SCALE              6
#define TCP_WND                                                                                    \
    (1024 * 1024) /* NETSTACK_WINDOW: what the app may send before the link has taken it */
#define TCP_SND_BUF      (1024 * 1024)
#define TCP_SND_QUEUELEN 2048 /* pbufs; above it octets wait in the flow (relay.c) */
#define TCP_SNDLOWAT     65536
#define TCP_OVERSIZE                                                                               \
    0 /* Nagle is off: what is written is sent, so room kept for more would be waste */
#define TCP_QUEUE_OOSEQ 1
#define TCP_OOSEQ_MAX_PBUFS                                                                        \
    32 /* tun0 does not reorder; it drops when its queue of 500 is full, then SACK fills one hole */
#define LWIP_TCP_SACK_OUT   1
#define LWIP_TCP_TIMESTAMPS 0
#define TCP_LISTEN_BACKLOG  0
#define TCP_TMR_INTERVAL    50 /* ms: a lost segment comes again after 300 ms, not 1.5 s */
/* TCP_MSL stays at lwIP's 60 s: it also ends LAST_ACK, where a slow reader may still have data to get. TIME_WAIT, which
 * it would stretch to 120 s, is ended by sight.c. */

#define CHECKSUM_GEN_IP 0
#define CHECKSUM_GEN_TCP                                                                           \
    0 /* the kernel is told that they are still to be made, and never makes them */
#define CHECKSUM_CHECK_IP     0
#define CHECKSUM_CHECK_TCP    0
#define LWIP_CHECKSUM_ON_COPY 0

#define LWIP_HOOK_FILENAME "layer/netstack/isn.h"
#define LWIP_HOOK_TCP_ISN  netstack_isn
