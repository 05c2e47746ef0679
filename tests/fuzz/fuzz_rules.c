/* Invariant: whatever the octets of the rules' file, they are refused, or every path has an answer that is one of the four, and
 * what it is mapped to lies inside the file; nothing outside of the file is looked at.
 *
 * The octets are made into a file around them, for none would have its magics and counts by chance; one in eight is taken as
 * it is.
 *
 * Sources: layer/preload/rules.c layer/preload/mapped.c
 */
#include "layer/preload/mapped.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct made {
    uint8_t octets[MOST];
    size_t n;
};

static void put(struct made *m, const void *p, size_t n) {
    if (m->n + n > sizeof m->octets)
        return;
    memcpy(m->octets + m->n, p, n);
    m->n += n;
}

static uint8_t next(const uint8_t **p, size_t *n) {
    if (*n == 0)
        return 0;
    --*n;
    return *(*p)++;
}

static void put_u16(struct made *m, unsigned value) {
    const uint8_t two[] = {(uint8_t)value, (uint8_t)(value >> 8)};
    put(m, two, 2);
}

static void put_u32(struct made *m, uint32_t value) {
    put_u16(m, value & 0xffff);
    put_u16(m, value >> 16);
}

static void put_text(struct made *m, const uint8_t **p, size_t *n, bool whose) {
    unsigned len = next(p, n) % 12;
    put_u16(m, len);
    if (whose)
        put(m, (const uint8_t[]){next(p, n) % 5}, 1);
    for (unsigned i = 0; i < len; i++)
        put(m, (const uint8_t[]){next(p, n)}, 1);
}

/* Steps that mostly lead somewhere, sets of a few octets, parts of groups that mostly are. */
static void put_program(struct made *m, const uint8_t **p, size_t *n) {
    unsigned steps = next(p, n) % 20, sets = next(p, n) % 3, parts = next(p, n) % 4;
    put_u16(m, steps);
    put_u16(m, sets);
    put_u16(m, 4 * parts);
    for (unsigned i = 0; i < steps; i++) {
        put_u16(m, i + 1 == steps ? 5 : next(p, n) % 6);
        put_u16(m, next(p, n) % 20);
        put_u16(m, next(p, n) % 20);
    }
    for (unsigned i = 0; i < 32 * sets; i++)
        put(m, (const uint8_t[]){next(p, n) | 0x55}, 1);
    for (unsigned i = 0; i < parts; i++) {
        put_u16(m, next(p, n) % 7);
        put_u16(m, 0);
    }
}

/* As runner/files/rules.py lays it out, with numbers that are nearly right. */
static void file_of(struct made *m, const uint8_t *p, size_t n) {
    unsigned patterns = next(&p, &n) % 5, prefixes = next(&p, &n) % 4, mappings = next(&p, &n) % 3,
             programs = next(&p, &n) % 3;
    unsigned states = next(&p, &n) % 9, width = next(&p, &n) % 6;
    put(m, "MRFILES1\1\2\3\4\5\6\7\0MRRULES2", 24);
    put_u32(m, patterns);
    put_u32(m, prefixes);
    put_u32(m, mappings);
    put_u32(m, next(&p, &n) % 6);
    put_u32(m, next(&p, &n) % 4);
    put_u32(m, programs);
    for (unsigned i = 0; i < patterns; i++)
        put(m, (const uint8_t[]){next(&p, &n) % 5}, 1);
    for (unsigned i = 0; i < prefixes; i++)
        put_text(m, &p, &n, true);
    for (unsigned i = 0; i < 2 * mappings; i++)
        put_text(m, &p, &n, false);
    for (unsigned i = 0; i < programs; i++)
        put_program(m, &p, &n);
    while (m->n % 8)
        put(m, "", 1);
    put(m, "MRPT0002", 8);
    put_u16(m, states);
    put_u16(m, width);
    unsigned turn = 1u + next(&p, &n) % 7, most = width + next(&p, &n) % 2;
    for (unsigned i = 0; i < 256; i++)
        put(m, (const uint8_t[]){most ? (uint8_t)(i / turn % most) : 0}, 1);
    for (unsigned i = 0; i < states; i++)
        put_u16(m, next(&p, &n) % 6 == 5 ? 0xffff : next(&p, &n) % 5);
    if (states % 2)
        put_u16(m, 0);
    for (unsigned i = 0; i < states * width; i++)
        put_u32(m, states ? next(&p, &n) % (states * width + 1) : 0);
}

static void decide(const struct rules *r, const char *path, size_t len) {
    bool winding;
    char to[64];
    if ((unsigned)rules_decide(r, path, len, &winding) > WHOSE_NOT_FOUND)
        abort();
    rules_asked(r, path, len);
    long mapped = mapped_path(r, path, len, to, sizeof to);
    if (mapped >= (long)sizeof to || mapped < -1 || (mapped > 0 && to[mapped] != '\0'))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static const char *const paths[] = {"/", "/etc/hosts", "/a//b/../c", "/usr/lib/x.so.6",
                                        "/\xff"};
    struct made *m = calloc(1, sizeof *m);
    struct rules r;
    if (!m)
        return 0;
    if (n > 0 && p[0] % 8 == 0)
        put(m, p + 1, n - 1 < MOST ? n - 1 : MOST);
    else
        file_of(m, p, n);
    uint8_t *file =
        malloc(m->n + 1); /* of just its length, so that the sanitizer sees what is beyond */
    memcpy(file, m->octets, m->n);
    file = realloc(file, m->n ? m->n : 1);
    if (rules_read(&r, file, m->n)) {
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
            decide(&r, paths[i], strlen(paths[i]));
        char *own = malloc(n + 2);
        own[0] = '/';
        memcpy(own + 1, p, n);
        decide(&r, own, n + 1);
        free(own);
    }
    free(file);
    free(m);
    return 0;
}
