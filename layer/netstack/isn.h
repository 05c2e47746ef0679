/* lwIP's hook for initial sequence numbers (RFC 6528). */
#pragma once

#include "lwip/ip_addr.h"

u32_t netstack_isn(const ip_addr_t *own, u16_t own_port, const ip_addr_t *peer, u16_t peer_port);
