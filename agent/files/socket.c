/* A Unix socket of the target's, connected: by a file thread, so as the target's process, which is whom the server sees.
 *
 * The connection is a handle until the bridge opens a channel for it (joined.c), or releases it. What is passed on with octets
 * (descriptors, credentials) means nothing at the other end. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    TRIES = 64,   /* of a path whose folders are renamed meanwhile (openat2(2), EAGAIN) */
    PATIENCE = 1, /* seconds that a server with a full queue may let a file thread wait */
};

/* O_PATH; or -errno. */
static int reach(int root, const char *path) {
    struct open_how how = {.flags = O_PATH | O_CLOEXEC,
                           .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int tries = 0; tries < TRIES; tries++) {
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

static int connected(int path, int type) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = PATIENCE};
    snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d", path);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0 &&
        fcntl(fd, F_SETFL, O_NONBLOCK) == 0)
        return fd;
    int err = errno;
    close(fd);
    return -err;
}

/* What connect(2) says of the path. */
static int dial(int root, const char *path, int type) {
    struct stat st;
    int fd = reach(root, path);
    if (fd < 0)
        return fd;
    int result = served_here(fd);
    if (result == 0 && fstat(fd, &st) < 0)
        result = -errno;
    if (result == 0)
        result = S_ISSOCK(st.st_mode) ? connected(fd, type) : -ECONNREFUSED;
    close(fd);
    return result;
}

/* Behind the path, if it is no stream; 0: it is none of those. */
static int type_asked(struct ask *a) {
    uint32_t type = SOCK_STREAM;
    if (a->left >= sizeof type)
        memcpy(&type, ask_take(a, sizeof type), sizeof type);
    return type == SOCK_STREAM || type == SOCK_SEQPACKET || type == SOCK_DGRAM ? (int)type : 0;
}

int serve_connect(struct ask *a) {
    const char *path;
    int err = ask_text(a, &path), type = err ? 0 : type_asked(a);
    if (err || path[0] != '/' || !type)
        return err ? err : -EINVAL;
    if (!a->tree->connects)
        return -EACCES;
    struct files_connected *out = ask_room(a, sizeof *out);
    struct node *root = out ? nodes_pin(a->tree->nodes, NODES_ROOT) : NULL;
    if (!root)
        return out ? -errno : -ENOMEM;
    int fd = dial(node_fd(root), path, type);
    if (fd < 0) {
        nodes_unpin(a->tree->nodes, root);
        return fd;
    }
    out->handle = handles_add(&a->tree->handles, fd, root);
    return out->handle ? 0 : -errno;
}
