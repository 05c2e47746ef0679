/* See fragments.h. */
#include "fragments.h"

#include <stdlib.h>
#include <string.h>

#define LARGEST 65536
#define UNIT    8 /* octets; offsets count them, and all fragments but the last are multiples of it */

struct datagram {
    bool used;
    struct ip_view first;
    uint32_t id, end; /* `end`: its length, once the last fragment is there */
    uint32_t units;   /* how many are there */
    uint64_t since;
    uint8_t there[LARGEST / UNIT];
    uint8_t octets[LARGEST];
};

struct fragments {
    struct datagram *datagrams;
    uint64_t lost;
};

struct fragments *fragments_new(void) {
    return calloc(1, sizeof(struct fragments));
}

void fragments_free(struct fragments *f) {
    free(f->datagrams);
    free(f);
}

uint64_t fragments_lost(const struct fragments *f) {
    return f->lost;
}

static void give_up(struct fragments *f, struct datagram *d) {
    f->lost += d->used;
    d->used = false;
}

static bool is_of(const struct datagram *d, const struct ip_view *ip) {
    return d->used && d->id == ip->frag_id && d->first.proto == ip->proto &&
           d->first.version == ip->version &&
           memcmp(&d->first.src, &ip->src, sizeof ip->src) == 0 &&
           memcmp(&d->first.dst, &ip->dst, sizeof ip->dst) == 0;
}

static struct datagram *find(struct fragments *f, const struct ip_view *ip) {
    for (int i = 0; f->datagrams && i < FRAGMENTS_MOST; i++)
        if (is_of(&f->datagrams[i], ip))
            return &f->datagrams[i];
    return NULL;
}

static struct datagram *begin(struct fragments *f, const struct ip_view *ip, uint64_t now) {
    if (!f->datagrams && !(f->datagrams = calloc(FRAGMENTS_MOST, sizeof *f->datagrams)))
        return NULL;
    struct datagram *d = &f->datagrams[0];
    for (int i = 0; i < FRAGMENTS_MOST; i++) {
        struct datagram *other = &f->datagrams[i];
        if (other->used && now - other->since > FRAGMENTS_TIME)
            give_up(f, other);
        if (d->used && (!other->used || other->since < d->since))
            d = other;
    }
    give_up(f, d);
    memset(d->there, 0, sizeof d->there);
    d->used = true;
    d->first = *ip;
    d->id = ip->frag_id;
    d->end = d->units = 0;
    d->since = now;
    return d;
}

/* False: it does not go with what is there. RFC 5722 has overlapping fragments end the whole datagram; so does Linux, for
 * both families, unless they are equal. */
static bool add(struct datagram *d, const struct ip_view *ip) {
    size_t n = ip->payload_len, end = ip->frag_offset + n;
    if (n == 0 || end > LARGEST - UNIT || (ip->more && n % UNIT != 0) || (d->end && end > d->end))
        return false;
    if (!ip->more) {
        if (d->end && d->end != end)
            return false;
        d->end = (uint32_t)end;
    }
    for (size_t at = 0; at < n; at += UNIT) {
        size_t place = ip->frag_offset + at, part = n - at < UNIT ? n - at : UNIT;
        if (d->there[place / UNIT] && memcmp(d->octets + place, ip->payload + at, part) != 0)
            return false;
        d->units += !d->there[place / UNIT];
        d->there[place / UNIT] = 1;
        memcpy(d->octets + place, ip->payload + at, part);
    }
    return true;
}

bool fragments_add(struct fragments *f, const struct ip_view *ip, uint64_t now,
                   struct ip_view *whole) {
    struct datagram *d = find(f, ip);
    if (!d && ip->frag_offset == 0)
        d = begin(f, ip, now);
    if (!d)
        return false;
    if (!add(d, ip)) {
        give_up(f, d);
        return false;
    }
    if (d->end == 0 || d->units != (d->end + UNIT - 1) / UNIT)
        return false;
    d->used = false;
    *whole = d->first;
    whole->fragment = whole->more = false;
    whole->packet = NULL; /* each fragment had its own */
    whole->header_len = 0;
    whole->payload = d->octets;
    whole->payload_len = d->end;
    return true;
}
