/* A few hundred HTTP/1 requests: every feature that decides where a request ends, and what is not to be decided. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CORPUS_PLAIN 648 /* 9 methods and targets, 4 sets of headers, 9 bodies, ours or not */

/* Writes request number i; its length. `ours`: it carries "x-for: anna" (in one of several spellings). */
size_t corpus_plain(unsigned i, uint8_t out[8192], bool *ours);
/* The answer to it. */
size_t corpus_answer(unsigned i, uint8_t out[8192]);

/* What is passed to the target raw, each with "x-for: anna" where a head can have it. */
struct corpus_odd {
    const char *name;
    const char *octets;
    size_t n;
};
extern const struct corpus_odd corpus_odd[];
extern const size_t corpus_odds;
/* Number i of them, or 0 behind the last. */
size_t corpus_odd_copy(unsigned i, uint8_t out[8192]);
