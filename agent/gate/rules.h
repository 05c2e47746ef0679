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

struct rules {
    const char *comment; /* who steals here; quotes and control characters are left out */
    uint16_t port;       /* the gate's */
};

/* Ports whose connections the gate gets. */
struct rules_ports {
    const uint16_t *stolen; /* from outside, and from a mesh's proxy over lo */
    size_t stolen_count;
    const uint16_t *local; /* of these also what else comes over lo */
    size_t local_count;
};

/* A whole text, terminated, into `out`; false: it does not fit. */
bool rules_table(const struct rules *r, char *out, size_t size);
bool rules_swap(const struct rules_ports *p, char *out, size_t size);

/* The comment in the text of `nft list table`; false: there is none. */
bool rules_comment_of(const char *listed, char *out, size_t size);
