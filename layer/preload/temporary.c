/* Files and directories under names that nobody has: libc opens them by calls of its own. */
#include "hook.h"
#include "open.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

#define X_LEN 6
#define TRIES 100

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* Where the six X are; NULL, EINVAL: there are none. */
static char *the_x(char *template, int suffix) {
    size_t n = strlen(template);
    char *x = template + n - (size_t)suffix - X_LEN;
    if (suffix < 0 || n < (size_t)suffix + X_LEN || memcmp(x, "XXXXXX", X_LEN) != 0) {
        errno = EINVAL;
        return NULL;
    }
    return x;
}

static void another_name(char *x) {
    unsigned char octets[X_LEN];
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (unsigned char)((size_t)x >>
                                    i); /* where there is no getrandom(2): names need only differ */
    raw(SYS_getrandom, octets, sizeof octets, 0);
    for (size_t i = 0; i < X_LEN; i++)
        x[i] = letters[octets[i] % (sizeof letters - 1)];
}

static int make_file(const char *path, int flags) {
    return open_by_rules(AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | flags, 0600);
}

static int make_directory(const char *path, int flags) {
    (void)flags;
    return mkdir(path, 0700);
}

static int made(char *template, int suffix, int flags, int (*make)(const char *, int)) {
    char *x = the_x(template, suffix);
    int before = errno;
    for (int i = 0; x && i < TRIES; i++) {
        another_name(x);
        int result = make(template, flags);
        if (result >= 0 || errno != EEXIST) {
            if (result >= 0)
                errno = before;
            return result;
        }
    }
    return -1;
}

EXPORT int mkostemps(char *template, int suffix, int flags) {
    return made(template, suffix, flags & ~O_ACCMODE, make_file);
}

EXPORT int mkstemp(char *template) {
    return mkostemps(template, 0, 0);
}

EXPORT int mkostemp(char *template, int flags) {
    return mkostemps(template, 0, flags);
}

EXPORT int mkstemps(char *template, int suffix) {
    return mkostemps(template, suffix, 0);
}

EXPORT char *mkdtemp(char *template) {
    return made(template, 0, 0, make_directory) < 0 ? NULL : template;
}

ALSO(mkstemp) int mkstemp64(char *template);
ALSO(mkostemp) int mkostemp64(char *template, int flags);
ALSO(mkstemps) int mkstemps64(char *template, int suffix);
ALSO(mkostemps) int mkostemps64(char *template, int suffix, int flags);
