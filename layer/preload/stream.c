/* Streams, and libraries by path: libc opens them by calls of its own, which no hook sees. */
#include "hook.h"
#include "open.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "libc.h"

/* fopen(3)'s mode as open(2)'s flags; -1: libc is to refuse it. */
static int flags_of(const char *mode) {
    int flags;
    switch (*mode) {
    case 'r':
        flags = 0;
        break;
    case 'w':
        flags = O_CREAT | O_TRUNC;
        break;
    case 'a':
        flags = O_CREAT | O_APPEND;
        break;
    default:
        return -1;
    }
    int access = *mode == 'r' ? O_RDONLY : O_WRONLY;
    for (const char *m = mode + 1; *m && *m != ','; m++) {
        access = *m == '+' ? O_RDWR : access;
        flags |= *m == 'e' ? O_CLOEXEC : *m == 'x' ? O_EXCL : 0;
    }
    return flags | access;
}

static FILE *stream_of(int fd, const char *mode) {
    FILE *f = fd < 0 ? NULL : fdopen(fd, mode);
    if (fd >= 0 && !f) {
        int why = errno;
        raw(SYS_close, fd);
        errno = why;
    }
    return f;
}

EXPORT FILE *fopen(const char *path, const char *mode) {
    int flags = flags_of(mode);
    int fd = flags < 0 ? OPEN_NOT_OURS : open_of_target(path, flags, 0666);
    return fd == OPEN_NOT_OURS ? REAL(fopen)(path, mode) : stream_of(fd, mode);
}

EXPORT FILE *freopen(const char *path, const char *mode, FILE *stream) {
    int flags = path ? flags_of(mode) : -1;
    int fd = flags < 0 ? OPEN_NOT_OURS : open_of_target(path, flags | O_CLOEXEC, 0666);
    if (fd == OPEN_NOT_OURS)
        return REAL(freopen)(path, mode, stream);
    if (fd < 0) {
        int why = errno;
        fclose(stream); /* as freopen(3): the old one is closed whatever happens */
        errno = why;
        return NULL;
    }
    struct fd_name name = fd_name(fd);
    FILE *f = REAL(freopen)(name.text, mode, stream);
    int why = errno;
    raw(SYS_close, fd);
    errno = why;
    return f;
}

ALSO(fopen) FILE *fopen64(const char *path, const char *mode);
ALSO(freopen) FILE *freopen64(const char *path, const char *mode, FILE *stream);

/* Only a path, not a name that is searched for. */
EXPORT void *dlopen(const char *path, int mode) {
    int fd =
        path && strchr(path, '/') ? open_of_target(path, O_RDONLY | O_CLOEXEC, 0) : OPEN_NOT_OURS;
    if (fd < 0)
        return REAL(dlopen)(path, mode); /* which says what is wrong with it, by dlerror(3) */
    struct fd_name name = fd_name(fd);
    void *library = REAL(dlopen)(name.text, mode);
    raw(SYS_close, fd);
    return library;
}
