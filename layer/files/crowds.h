/* Folders whose entries are asked for by their paths, one after another: when such a folder is to be listed, so that what is asked
 * for next is known.
 *
 * After CROWDS_FEW questions that cost a round trip each, none a second after the one before, a listing is worth it: it costs as
 * many as it has thousands of entries. Where less than one in CROWDS_USE of what it told was asked for, the next one takes four
 * times as many questions. Knows no file and no clock; the caller's lock. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CROWDS_MOST 32
#define CROWDS_FEW  8u
#define CROWDS_USE  16u

struct crowd {
    char *folder; /* NULL: the place is free */
    size_t len;
    uint64_t last; /* ns: the last question */
    uint32_t missed, needed;
    uint32_t told;  /* entries of the last listing */
    uint32_t known; /* questions that cost nothing since it began */
};

struct crowds {
    struct crowd all[CROWDS_MOST];
};

/* Zeroes are an empty table. */
void crowds_clear(struct crowds *c);
/* `folder` is `len` octets. A round trip was made for an entry of it: the folder to be listed now, or NULL. */
const struct crowd *crowds_missed(struct crowds *c, uint64_t now, const char *folder, size_t len);
/* An entry of it was known; one of a folder that has been listed counts. */
void crowds_known(struct crowds *c, uint64_t now, const char *folder, size_t len);
/* So many entries more were told. Whether any of the folder was asked for since `since`: else no more is worth it. */
bool crowds_told(struct crowds *c, const char *folder, size_t len, uint32_t count, uint64_t since);
