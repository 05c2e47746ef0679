#include "rules.h"

#include "mapped.h"

#include <string.h>

#define FILE_MAGIC  "MRFILES1"
#define RULES_MAGIC "MRRULES2"
#define TABLE_MAGIC "MRPT0002"
#define MAGIC       8
#define NONE        0xffff

/* What is left of the file; `at` NULL once something was not there. */
struct reader {
    const uint8_t *at;
    size_t left;
};

static const uint8_t *take(struct reader *r, size_t n) {
    const uint8_t *p = r->at;
    if (!p || n > r->left) {
        r->at = NULL;
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return p;
}

static uint32_t u32_of(struct reader *r) {
    const uint8_t *p = take(r, 4);
    return p ? (uint32_t)rules_u16(p) | (uint32_t)rules_u16(p + 2) << 16 : 0;
}

static bool magic(struct reader *r, const char *what) {
    const uint8_t *p = take(r, MAGIC);
    return p && memcmp(p, what, MAGIC) == 0;
}

/* Every octet there is one of whose. */
static bool known(const uint8_t *whose, uint32_t count, size_t apart) {
    for (uint32_t i = 0; i < count; i++, whose += apart ? apart + rules_u16(whose - 2) : 1)
        if (*whose > WHOSE_NOT_FOUND)
            return false;
    return true;
}

/* `count` times u16 length, `extra` octets, and as many as the length says. */
static const uint8_t *texts(struct reader *r, uint32_t count, size_t extra) {
    const uint8_t *first = r->at, *p;
    for (uint32_t i = 0; i < count && (p = take(r, 2 + extra)); i++)
        take(r, rules_u16(p));
    return r->at ? first : NULL;
}

/* No move leads where the next one would be none any more, every label names a pattern. Every process does this at its start,
 * so each move costs one comparison: the largest is what counts. */
static bool sound(const struct rules *r) {
    size_t moves = (size_t)r->states * r->width;
    uint32_t farthest = 0;
    if (moves == 0)
        return false;
    for (size_t i = 0; i < moves; i++)
        farthest = r->moves[i] > farthest ? r->moves[i] : farthest;
    if (farthest > moves - r->width)
        return false;
    for (size_t i = 0; i < r->states; i++)
        if (r->labels[i] != NONE && r->labels[i] >= r->patterns)
            return false;
    for (size_t i = 0; i < 256; i++)
        if (r->classes[i] >= r->width)
            return false;
    return true;
}

static bool table(struct rules *r, struct reader *in) {
    const uint8_t *sizes;
    if (!magic(in, TABLE_MAGIC) || !(sizes = take(in, 4)))
        return false;
    r->states = rules_u16(sizes);
    r->width = rules_u16(sizes + 2);
    r->classes = take(in, 256);
    r->labels = (const uint16_t *)(const void *)take(in, 2 * (size_t)r->states);
    take(in, 2 * (size_t)(r->states % 2));
    r->moves = (const uint32_t *)(const void *)take(in, 4 * (size_t)r->states * r->width);
    return r->classes && r->labels && r->moves && sound(r);
}

bool rules_read(struct rules *out, const void *octets, size_t len) {
    struct reader in = {octets, len};
    struct rules r = {0};
    const uint8_t *mount;
    if (!magic(&in, FILE_MAGIC) || !(mount = take(&in, 8)) || !magic(&in, RULES_MAGIC))
        return false;
    memcpy(&r.mount, mount, sizeof r.mount);
    r.patterns = u32_of(&in);
    r.prefix_count = u32_of(&in);
    r.mapping_count = u32_of(&in);
    r.users = u32_of(&in);
    r.mode = u32_of(&in);
    r.program_count = u32_of(&in);
    r.whose = take(&in, r.patterns);
    r.prefixes = texts(&in, r.prefix_count, 1);
    r.mappings = r.mapping_count > UINT32_MAX / 2 ? NULL : texts(&in, 2 * r.mapping_count, 0);
    r.programs = in.at;
    for (uint32_t i = 0; i < r.program_count && in.at; i++)
        take(&in, mapped_program(in.at, in.left));
    if (!r.whose || !r.prefixes || !r.mappings || !in.at || r.users > r.patterns ||
        !known(r.whose, r.patterns, 0) || !known(r.prefixes + 2, r.prefix_count, 3))
        return false;
    take(&in, -(size_t)(in.at - (const uint8_t *)octets) % 8);
    if (!table(&r, &in))
        return false;
    *out = r;
    return true;
}

/* A part of a path so far: nothing, a dot, two of them, or what is none of these. */
enum part { EMPTY, DOT, DOTS, OTHER };

/* A step of the table waits for the one before it, so what is seen of the octets beside it costs next to nothing. */
static uint16_t walk(const struct rules *r, const char *path, size_t len, bool *winding) {
    const uint32_t *moves = r->moves;
    const uint8_t *classes = r->classes;
    uint32_t at = 0;
    unsigned part = OTHER, odd = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t octet = (uint8_t)path[i];
        bool slash = octet == '/';
        odd |= slash & (part < OTHER);
        part = slash ? EMPTY : ((octet == '.') & (part < OTHER)) ? part + 1 : OTHER;
        at = moves[at + classes[octet]];
    }
    *winding = odd | ((part < OTHER) & (len > 1));
    return r->labels[at / r->width];
}

/* The prefixes stand longest first. */
static int by_prefix(const struct rules *r, const char *path, size_t len) {
    const uint8_t *p = r->prefixes;
    for (uint32_t i = 0; i < r->prefix_count; i++, p += 3 + rules_u16(p))
        if (rules_holds(p + 3, rules_u16(p), path, len))
            return p[2];
    return -1;
}

/* What the mode says of what nothing else decides: as runner/files/rules.py has its modes. */
static enum whose otherwise(const struct rules *r) {
    return r->mode == 1 ? WHOSE_READ : r->mode == 2 ? WHOSE_WRITE : WHOSE_LOCAL;
}

enum whose rules_decide(const struct rules *r, const char *path, size_t len, bool *winding) {
    *winding = false;
    if (r->mode == 0)
        return WHOSE_LOCAL;
    uint16_t label = walk(r, path, len, winding);
    if (label != NONE && label < r->users)
        return r->whose[label];
    int whose = by_prefix(r, path, len);
    if (whose >= 0)
        return (enum whose)whose;
    return label != NONE ? r->whose[label] : otherwise(r);
}

bool rules_asked(const struct rules *r, const char *path, size_t len) {
    bool winding;
    return r->mode && walk(r, path, len, &winding) < r->users; /* NONE is not */
}
