/* What is in a folder, or what a file is, at one look; and what it takes to make another thing of its shadow. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct entry {
    char *name;
    uint64_t inode, size;
    int64_t changed_ns, modified_ns;
    uint32_t mode, uid, gid;
};

/* Sorted by name; of a file the one entry is the file's own, its name "f". */
struct look {
    struct entry *all;
    uint32_t count;
    uint64_t inode; /* of what was looked at */
    bool folder;
};

/* Of a path in the mount: 0, or -errno; ENOSPC: there is too much. */
int look_take(int mount, const char *path, bool no_follow, uint32_t most, struct look *out);
void look_free(struct look *l);
/* Does to `shadow`, a folder, what makes the one of the other. `spare`: a folder of the same file system that nobody watches. */
void look_replay(int shadow, int spare, const struct look *before, const struct look *now);
