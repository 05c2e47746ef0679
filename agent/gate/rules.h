/* The text of the gate's nftables rules: a pure function of what is wanted, swapped whole.
 *
 * Everything that may change while the gate runs is an element of a set; so the rules themselves are written once. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RULES_TABLE "mirror-run" /* for every agent alike: a second one meets the first one's */
#define RULES_MAP4  "clients4"
#define RULES_MAP6  "clients6"

/* On the gate's own connections to the target, as packet mark and as connection mark: "mrun". Bits that no mesh, CNI or kube-proxy
 * is known to use whole; compared whole. */
#define RULES_MARK 0x6d72756eu

#define RULES_COMMENT 120 /* octets of the table's comment at most; nft's own limit is 128 */

/* A port whose connections the gate gets: at a port of its own for each. With one for all, a client that uses one of its
 * ports for two of the target's would be given another by the kernel's NAT, and the target would be told that one. */
struct rules_port {
    uint16_t port, door;
    bool local; /* also what comes over lo, whoever brings it */
};

/* A whole text, terminated, into `out`; false: it does not fit. `comment`: who steals here; quotes and control characters are
 * left out. `forgets`: with a `ct timeout`, which not every kernel has (CONFIG_NF_CONNTRACK_TIMEOUT). */
bool rules_table(const char *comment, bool forgets, char *out, size_t size);
bool rules_swap(const struct rules_port *p, size_t count, char *out, size_t size);

/* Whose proxies bring over lo what comes from outside: these user ids, beside those of the meshes that are known. */
bool rules_meshes(const uint32_t *uid, size_t count, char *out, size_t size);

/* The comment in the text of `nft list table`; false: there is none. */
bool rules_comment_of(const char *listed, char *out, size_t size);
