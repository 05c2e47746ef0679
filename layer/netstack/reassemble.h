/* Datagrams of the app that left in fragments (larger than the MTU of 65,520), made whole again.
 *
 * Bound: REASSEMBLY_SLOTS at once; the oldest goes for a new one. A kernel sends the fragments of one datagram in a row, so
 * more are never open without loss. RFC 791 3.2, RFC 8200 4.5. */
#pragma once

#include "native/view.h"

#include <stdbool.h>
#include <stdint.h>

#define REASSEMBLY_SLOTS 8
#define REASSEMBLY_UNITS (65536 / 8)

struct partial {
    bool used;
    struct addr src, dst;
    uint8_t proto;
    uint32_t id;
    uint64_t since;  /* ns */
    size_t units;    /* of 8 octets, that have come */
    size_t expected; /* octets; 0: the last fragment has not come */
    uint64_t have[REASSEMBLY_UNITS / 64];
    uint8_t *data; /* 64 KiB, kept with the slot */
};

struct reassembly {
    struct partial slots[REASSEMBLY_SLOTS];
};

/* Takes a fragment. True: `whole` is a view of the datagram, valid until the next call. */
bool reassemble(struct reassembly *r, const struct ip_view *fragment, uint64_t now,
                struct ip_view *whole);
void reassembly_free(struct reassembly *r);
