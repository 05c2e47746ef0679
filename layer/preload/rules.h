/* Whose a path is, by the table that the runner made (runner/files/rules.py, `packed`): read in place, nothing is copied.
 *
 * The file is checked once, when it is mapped; after that every number in it is trusted, and deciding looks at each octet of
 * the path once, allocates nothing and makes no system call. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum whose {
    WHOSE_LOCAL = 0,
    WHOSE_READ = 1,
    WHOSE_WRITE = 2,
    WHOSE_NOT_FOUND = 3,
};

struct rules {
    uint64_t mount; /* st_dev of the target's files */
    const uint8_t *whose, *prefixes, *mappings, *programs;
    uint32_t patterns, prefix_count, mapping_count, users, mode, program_count;
    const uint8_t *classes;
    const uint16_t *labels;
    const uint32_t *moves;
    uint32_t states, width;
};

/* Of the file's octets, which stay where they are. False when they are not such a file. */
bool rules_read(struct rules *r, const void *octets, size_t len);

/* Of an absolute path (`len` octets). *winding: there are empty parts, `.` or `..` in it, or a slash at its end, so that what was
 * decided may be of another path than the one that is meant: who cares makes it plain and asks again. */
enum whose rules_decide(const struct rules *r, const char *path, size_t len, bool *winding);

/* Whether a rule of the user's own decides of this path, which is plain. */
bool rules_asked(const struct rules *r, const char *path, size_t len);
