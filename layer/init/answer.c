#include "answer.h"

#include "caller.h"

#include "layer/preload/raw.h"
#include "layer/preload/seccomp.h"

#include <errno.h>
#include <sys/stat.h>

#include "layer/preload/libc.h"

static void say(int listener, uint64_t id, long value, int err, uint32_t flags) {
    struct seccomp_notif_resp r = {.id = id, .val = value, .error = -err, .flags = flags};
    raw(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_SEND, &r); /* ENOENT: it waits no more */
}

void answer_value(int listener, uint64_t id, long value) {
    say(listener, id, value, 0, 0);
}

void answer_failed(int listener, uint64_t id, int err) {
    say(listener, id, 0, err, 0);
}

void answer_left(int listener, uint64_t id) {
    say(listener, id, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE);
}

/* A descriptor of ours becomes the lowest that is free there, and the answer, in one step. */
static long added(int listener, uint64_t id, int fd, bool kept_by_exec) {
    struct seccomp_notif_addfd add = {.id = id,
                                      .flags = SECCOMP_ADDFD_FLAG_SEND,
                                      .srcfd = (uint32_t)fd,
                                      .newfd_flags = kept_by_exec ? 0 : O_CLOEXEC};
    return raw(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
}

/* The kernel gives away no descriptor of O_PATH (EBADF), so it is one for reading. */
static int for_reading(int fd) {
    struct statx s = {0};
    struct fd_name name = fd_name(fd);
    raw(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &s);
    if (S_ISREG(s.stx_mode) || S_ISDIR(s.stx_mode))
        return (int)raw(SYS_openat, AT_FDCWD, name.text, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0);
    errno = S_ISLNK(s.stx_mode) ? ELOOP : EOPNOTSUPP;
    return -1;
}

long answer_descriptor(int listener, uint64_t id, int fd, bool kept_by_exec) {
    long done = added(listener, id, fd, kept_by_exec);
    if (done < 0 && errno == EBADF) {
        int readable = for_reading(fd);
        done = readable < 0 ? -1 : added(listener, id, readable, kept_by_exec);
        int why = errno;
        if (readable >= 0)
            raw(SYS_close, readable);
        errno = why;
    }
    if (done < 0)
        answer_failed(listener, id, errno);
    return done;
}

void answer_in_place(int listener, uint64_t id, int fd, int number) {
    struct seccomp_notif_addfd add = {.id = id,
                                      .flags = SECCOMP_ADDFD_FLAG_SETFD,
                                      .srcfd = (uint32_t)fd,
                                      .newfd = (uint32_t)number,
                                      .newfd_flags = (uint32_t)(caller_flags(number) & O_CLOEXEC)};
    long done = raw(SYS_ioctl, listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    say(listener, id, 0, done < 0 ? errno : 0, 0);
    raw(SYS_close, fd);
}
