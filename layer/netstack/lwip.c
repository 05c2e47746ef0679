/* lwIP's TCP as one unit, from the system's include path so that our warnings are not asked of it.
 *
 * tcp_in.c comes last: its file-wide names (flags, tcphdr) would hide those of the others' locals. */
#include <core/def.c>
#include <core/mem.c>
#include <core/memp.c>
#include <core/pbuf.c>
#include <core/ipv4/ip4_addr.c>
#include <core/ipv6/ip6_addr.c>
#include <core/tcp.c>
#include <core/tcp_out.c>
#include <core/tcp_in.c>
