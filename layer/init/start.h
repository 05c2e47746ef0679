/* What the bridge tells mirror-init to run: the Start message (wire/messages.py, tag 49), parsed into C strings. */
#pragma once

#include "fault.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct start {
    char **argv;    /* NULL-terminated, at least one */
    char **environ; /* NULL-terminated "NAME=value" */
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
    char *name; /* "": no passwd entry */
    char *home; /* "": HOME is left alone */
    char *cwd;
    char *text;       /* what all the strings are in */
    uint8_t *rules;   /* the layer's, as they are to stand in its file */
    size_t rules_len; /* 0: no layer */
};

/* `body` is the frame without its length word; it is copied. 0 and `out` is to be given to start_free, or -1 with a sentence
 * and `out` untouched. */
int start_parse(const uint8_t *body, size_t n, struct start *out, struct fault *f);
void start_free(struct start *s);

/* The frame InitHello (tag 48), length word included; returns its length, at most 16. */
size_t start_hello(uint8_t *out);
