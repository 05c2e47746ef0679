#include "agent/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int netns_home(const char *kind, struct fault *f) {
    char path[64];
    snprintf(path, sizeof path, "/proc/thread-self/ns/%s", kind);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 ? fd : fault_set(f, errno, "open %s", path);
}

/* Two fds of one namespace: namespaces(7), "The /proc/pid/ns/ directory", compared by device and inode. */
static bool same(int home, int there) {
    struct stat a, b;
    return fstat(home, &a) == 0 && fstat(there, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int netns_within(int home, int there, int (*make)(void *arg, struct fault *f), void *arg,
                 struct fault *f) {
    /* In the target's own pod (an ephemeral container) there is nothing to enter, nor the right to. */
    if (same(home, there))
        return make(arg, f);
    /* 0 for the type: the fd's own kind. */
    /*privileged CAP_SYS_ADMIN: setns(2) into a target's network or UTS namespace asks for it there and here. */
    if (setns(there, 0) < 0)
        return fault_set(f, errno, "enter the target's namespace");
    int made = make(arg, f);
    int err = errno;
    CHECK(setns(home, 0) == 0);
    errno = err;
    return made;
}

struct wanted {
    int domain, type, protocol;
};

static int make_socket(void *arg, struct fault *f) {
    const struct wanted *w = arg;
    /*privileged CAP_NET_RAW: raw sockets (echo) and packet sockets (mirror) are opened by this call. */
    int fd = socket(w->domain, w->type | SOCK_CLOEXEC, w->protocol);
    return fd >= 0 ? fd
                   : fault_set(f, errno, "socket(%d, %d, %d) in the target", w->domain, w->type,
                               w->protocol);
}

int netns_socket(int home, int there, int domain, int type, int protocol, struct fault *f) {
    struct wanted w = {domain, type, protocol};
    return netns_within(home, there, make_socket, &w, f);
}

int netns_stay(int there, struct fault *f) {
    int home = netns_home("net", f);
    if (home < 0)
        return -1;
    int r = same(home, there) || setns(there, 0) == 0
                ? 0
                : fault_set(f, errno, "enter the target's network namespace");
    close(home);
    return r;
}
