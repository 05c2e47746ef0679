#include "caller.h"

#include "layer/preload/by_rules.h"
#include "layer/preload/place.h"
#include "layer/preload/raw.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "layer/preload/libc.h"

enum {
    AT_ONCE = 4096
}; /* a page: what is read of a string may not go beyond the one that its end is in */

/* Whom this thread serves, and who it is. */
static _Thread_local struct caller *now;
static _Thread_local struct {
    uid_t uid;
    gid_t gid;
} is, wants;

/* --- identity ------------------------------------------------------------------------------------------------------------ */

/* By the system calls themselves: libc's would change all threads. Only root may take another identity, which it can become again
 * by the saved one that is kept; the real ones go with it, by which access(2) judges. */
static bool become(uid_t uid, gid_t gid) {
    if (uid == is.uid && gid == is.gid)
        return true;
    if (is.uid != 0 && raw(SYS_setresuid, -1L, 0L, -1L) != 0)
        return false;
    is.uid = 0;
    if (raw(SYS_setresgid, (long)gid, (long)gid, -1L) != 0)
        return false;
    is.gid = gid;
    if (raw(SYS_setresuid, (long)uid, (long)uid, -1L) != 0)
        return false;
    is.uid = uid;
    return true;
}

void caller_as_root(void) {
    become(0, 0);
}

void caller_as_caller(void) {
    become(wants.uid, wants.gid);
}

bool caller_enter(struct caller *c, pid_t thread) {
    char name[32];
    struct statx s = {0};
    snprintf(name, sizeof name, "/proc/%d", (int)thread);
    c->memory = -1;
    c->left = false;
    c->proc = (int)raw(SYS_openat, AT_FDCWD, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (c->proc < 0)
        return false;
    if (raw(SYS_statx, c->proc, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) == 0 &&
        become(s.stx_uid, s.stx_gid)) {
        wants = is;
        now = c;
        return true;
    }
    raw(SYS_close, c->proc);
    return false;
}

void caller_leave(struct caller *c) {
    now = NULL;
    raw(SYS_close, c->proc);
    if (c->memory >= 0)
        raw(SYS_close, c->memory);
}

/* --- memory -------------------------------------------------------------------------------------------------------------- */

static bool opened(struct caller *c) {
    if (c->memory < 0)
        c->memory = (int)raw(SYS_openat, c->proc, "mem", O_RDWR | O_CLOEXEC, 0);
    return c->memory >= 0;
}

bool caller_read(struct caller *c, uint64_t address, void *out, size_t n) {
    if (opened(c) && raw(SYS_pread64, c->memory, out, n, address) == (long)n)
        return true;
    errno = EFAULT;
    return false;
}

bool caller_write(struct caller *c, uint64_t address, const void *octets, size_t n) {
    if (opened(c) && raw(SYS_pwrite64, c->memory, octets, n, address) == (long)n)
        return true;
    errno = EFAULT;
    return false;
}

ssize_t caller_text(struct caller *c, uint64_t address, char *out, size_t size) {
    size_t done = 0;
    while (done < size && opened(c)) {
        size_t n = AT_ONCE - (size_t)((address + done) % AT_ONCE);
        n = n < size - done ? n : size - done;
        if (raw(SYS_pread64, c->memory, out + done, n, address + done) != (long)n)
            return -1;
        const char *end = memchr(out + done, '\0', n);
        if (end)
            return end - out;
        done += n;
    }
    return -1;
}

/* --- what a place depends on (place.h) ------------------------------------------------------------------------------------- */

/* What a name in its /proc is a link to, as it sees it. */
static long linked(const char *name, char *out, size_t size, bool *of_target) {
    struct statx s = {0};
    long n = raw(SYS_readlinkat, now->proc, name, out, size - 1);
    *of_target = n > 0 && raw(SYS_statx, now->proc, name, AT_STATX_DONT_SYNC, 0, &s) == 0 &&
                 makedev(s.stx_dev_major, s.stx_dev_minor) == place_mount();
    return n > 0 ? link_plain(out, n) : n;
}

static void fd_link(int fd, char out[32]) {
    snprintf(out, 32, "fd/%d", fd);
}

long place_cwd(char *out, size_t size, bool *of_target) {
    long n = linked("cwd", out, size, of_target);
    if (n < 0)
        return -1;
    out[n] = '\0';
    return n + 1;
}

long place_descriptor(int fd, char *out, size_t size, bool *of_target) {
    char name[32];
    int before = errno;
    fd_link(fd, name);
    long n = linked(name, out, size, of_target);
    errno = before;
    return n;
}

int place_open(int dirfd, const char *path, const struct open_how *how) {
    char name[32] = "cwd";
    if (dirfd != AT_FDCWD)
        fd_link(dirfd, name);
    int folder = (int)raw(SYS_openat, now->proc, name, O_PATH | O_CLOEXEC, 0);
    if (folder < 0)
        return -1;
    int fd = (int)raw(CALL_OPENAT2, folder, path, how, sizeof *how);
    int why = errno;
    raw(SYS_close, folder);
    errno = why;
    return fd;
}

/* The number behind a word of its own line in a file of its /proc, among the first lines. */
static long number_in(const char *file, const char *word, int digits, long otherwise) {
    char text[512];
    int fd = (int)raw(SYS_openat, now->proc, file, O_RDONLY | O_CLOEXEC, 0);
    long n = fd < 0 ? 0 : raw(SYS_read, fd, text, sizeof text - 1);
    if (fd >= 0)
        raw(SYS_close, fd);
    text[n > 0 ? n : 0] = '\0';
    const char *line = strstr(text, word);
    return line ? strtol(line + strlen(word), NULL, digits) : otherwise;
}

/* proc(5) */
mode_t place_mask(void) {
    return (mode_t)number_in("status", "\nUmask:", 8, 022);
}

pid_t caller_process(void) {
    return (pid_t)number_in("status", "\nTgid:", 10, 0);
}

int caller_flags(int fd) {
    char name[32];
    snprintf(name, sizeof name, "fdinfo/%d", fd);
    return (int)number_in(name, "\nflags:", 8, 0);
}

void place_left(void) {
    now->left = true;
}

void place_waits(void) {
    if (now) /* else it is mirror-init's own */
        now->waits(now->arg);
}
