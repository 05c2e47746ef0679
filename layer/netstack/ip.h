/* The IP layer below lwIP's TCP: any address is ours, and there is one way out.
 *
 * lwIP's own (ip4.c, ip6.c, netif.c) would ask for interfaces, routes and neighbours and accept packets for the interface's
 * addresses alone. TCP needs four functions of it; they are here, and the packets come and go by tun.h. */
#pragma once

#include "native/addr.h"
#include "native/view.h"

#include "lwip/ip_addr.h"
#include "lwip/pbuf.h"

struct tun;

void ip_attach(struct tun *t); /* NULL: detach; what TCP sends then is lost */
ip_addr_t ip_of(const struct addr *a);

/* Hands a segment to lwIP's TCP; takes `b`. */
void ip_deliver(const struct ip_view *ip, struct pbuf *b);
