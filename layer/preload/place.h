/* Where a path leads: made absolute, decided by the rules, and what the real call is then to be given.
 *
 * Decided is the path as it is written, its `.` and `..` taken out by their text; what the target or the kernel gets is the
 * path with them, for only who follows symlinks knows what `..` means after one. */
#pragma once

#include "rules.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

enum route {
    ROUTE_OWN,    /* the call as it was made */
    ROUTE_HERE,   /* the container's, but at `path` */
    ROUTE_TARGET, /* the door's, with `path` */
    ROUTE_FAILED, /* errno says why */
};

enum intent {
    LOOKS, /* at what is there */
    SEES,  /* the same, and if it is a symlink, that */
    RUNS, /* what is there, as a program: the target's only where a rule of the user's own says so */
    CHANGES,  /* what is there */
    REPLACES, /* what is in it: nothing of that is needed any more */
    MAKES,    /* a new name */
    TAKES,    /* a name away */
};

struct place {
    char path[PATH_MAX];
    size_t len;
    bool
        of_target; /* it was found from a directory of the target's: ROUTE_OWN then is the target's too */
};

/* Of `path` as the kernel would find it from `dirfd`. What is left to the kernel is ROUTE_OWN: NULL, "", no rules. */
enum route place_find(struct place *p, int dirfd, const char *path, enum intent intent);

/* For calls with two paths, which are both the door's or none: what of them is the target's anyhow is the door's too. */
enum route place_find_of_two(struct place *p, int dirfd, const char *path, enum intent intent);

/* Takes out empty parts, `.`, `..` and a slash at the end, by their text. */
void place_plain(struct place *p);

/* Reads the rules' file, once, before anything is asked. */
void place_begin(void);

/* Whether the layer does anything in this process: rules were found. */
bool place_active(void);

/* The st_dev of the target's files. */
uint64_t place_mount(void);

/* What a place depends on in the process whose call it is. In the layer that is this process (self.c, here.c); mirror-init decides for
 * others (layer/init/caller.c), by the same code. errno is as it was. */

/* The working directory's name into `out`, without what the kernel puts before one that is not below the root. Its length with
 * the NUL, as getcwd(2), or -1 and errno. */
long place_cwd(char *out, size_t size, bool *of_target);

/* What the kernel puts before such a name, for getcwd(2) and in /proc. */
#define PLACE_UNREACHABLE "(unreachable)"

/* The working directory has changed. */
void place_moved(void);

/* The name of what a descriptor is of, without a NUL, and whether it is one of the target's files. Its length, or -1. */
long place_descriptor(int fd, char *out, size_t size, bool *of_target);

/* openat2(2) from one of its descriptors: a descriptor of this process's, or -1 and errno. */
struct open_how;
int place_open(int dirfd, const char *path, const struct open_how *how);

/* The umask(2). */
mode_t place_mask(void);

/* Only where the call is another's: it is left to who made it; and, before the door is asked for it. */
void place_left(void);
void place_waits(void);
