/* What of the app's paths is elsewhere in the target: folders, and patterns with what becomes of a path (runner/files/program.py).
 *
 * Read in place and allocating nothing, as the rest of the rules: a pattern is a program whose threads run over the path side by
 * side, MAPPED_STEPS of them at most. */
#pragma once

#include "rules.h"

#include <string.h>

#define MAPPED_STEPS 200
#define MAPPED_SLOTS 12 /* where the whole and five groups begin and end */

/* The path that is meant in place of this one, which is plain: its length, with a NUL behind it in `out`; 0: itself, and nothing is
 * written; -1: there is no room. */
long mapped_path(const struct rules *r, const char *path, size_t len, char *out, size_t room);

/* How many octets the program at `at` has; more than `left`: it is none. */
size_t mapped_program(const uint8_t *at, size_t left);

static inline uint16_t rules_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

/* Whether the path is that folder or lies in it; "/" has been written so. */
static inline bool rules_holds(const uint8_t *folder, size_t n, const char *path, size_t len) {
    if (n == 1)
        return true;
    return len >= n && memcmp(folder, path, n) == 0 && (len == n || path[n] == '/');
}
