/* See reassemble.h. */
#include "layer/netstack/reassemble.h"

#include <stdlib.h>
#include <string.h>

#define PATIENCE                                                                                   \
    (5 * 1000000000ull) /* ns; the rest of a datagram that is not there by then was lost */
#define SPACE 65536

static bool is_for(const struct partial *p, const struct ip_view *f) {
    return p->used && p->id == f->frag_id && p->proto == f->proto &&
           !memcmp(&p->src, &f->src, sizeof p->src) && !memcmp(&p->dst, &f->dst, sizeof p->dst);
}

static struct partial *slot_for(struct reassembly *r, const struct ip_view *f, uint64_t now) {
    struct partial *best = &r->slots[0];
    for (int i = 0; i < REASSEMBLY_SLOTS; i++) {
        struct partial *p = &r->slots[i];
        if (p->used && now - p->since > PATIENCE)
            p->used = false;
        if (is_for(p, f))
            return p;
        if (best->used && (!p->used || p->since < best->since))
            best = p;
    }
    uint8_t *data = best->data ? best->data : malloc(SPACE);
    if (!data)
        return NULL;
    *best = (struct partial){.used = true,
                             .src = f->src,
                             .dst = f->dst,
                             .proto = f->proto,
                             .id = f->frag_id,
                             .since = now,
                             .data = data};
    return best;
}

/* Notes the units that came; false: one of them was there already, and what overlaps is not to be trusted (RFC 5722). */
static bool note(struct partial *p, size_t first, size_t count) {
    for (size_t u = first; u < first + count; u++) {
        uint64_t bit = 1ull << (u % 64);
        if (p->have[u / 64] & bit)
            return false;
        p->have[u / 64] |= bit;
    }
    p->units += count;
    return true;
}

bool reassemble(struct reassembly *r, const struct ip_view *f, uint64_t now,
                struct ip_view *whole) {
    size_t at = f->frag_offset, n = f->payload_len, end = at + n;
    if (!n || at % 8 || end > 65535 || (f->more && n % 8))
        return false;
    struct partial *p = slot_for(r, f, now);
    if (!p)
        return false;
    bool fits = note(p, at / 8, (n + 7) / 8);
    if (!f->more) {
        fits = fits && !p->expected;
        p->expected = end;
    }
    if (!fits) {
        p->used = false;
        return false;
    }
    memcpy(p->data + at, f->payload, n);
    if (!p->expected || p->units * 8 < p->expected)
        return false;
    p->used = false;
    if (p->units != (p->expected + 7) / 8)
        return false; /* something came beyond the end */
    *whole = *f;
    whole->fragment = whole->more = false;
    whole->frag_offset = 0;
    whole->payload = p->data;
    whole->payload_len = p->expected;
    return true;
}

void reassembly_free(struct reassembly *r) {
    for (int i = 0; i < REASSEMBLY_SLOTS; i++)
        free(r->slots[i].data);
}
