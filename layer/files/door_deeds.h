/* What the door does for an ask that has been checked: system calls on the mount, in place of the asker. */
#pragma once

#include "layer/files/door_words.h"

#include <stddef.h>
#include <stdint.h>

struct filesystem;
struct made;
struct watches;

/* An ask, its parts made strings; `body` has room for DOOR_VALUE octets. */
struct door_ask_parts {
    struct filesystem *fs;
    struct watches *watches;
    struct made *made_here;
    int mount;
    const struct door_ask *ask;
    const char *path, *second;
    const uint8_t *value;
    uint8_t *body; /* the answer's, `made` octets of it */
    uint32_t made;
    int given; /* -1, or what came with the ask */
    int fd;    /* -1, or what is given with the answer */
};

/* The result, 0 or more, or -errno. */
int door_do(struct door_ask_parts *a);
