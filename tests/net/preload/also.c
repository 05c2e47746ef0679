/* A library that somebody else has preloaded: it says that it saw a file opened, and lets the next one do it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

int open(const char *path, int flags, ...) {
    static int (*next)(const char *, int, mode_t);
    if (!next)
        next = (int (*)(const char *, int, mode_t))dlsym(RTLD_NEXT, "open");
    if (strcmp(path, "/srv/d/file") == 0 && write(2, "seen\n", 5) != 5)
        return -1;
    return next(path, flags, 0);
}
