/* The peer of a sequential read: a FUSE file system in C that gives a folder of this machine, by libfuse's low-level API with all
 * that makes it fast (threads, spliced replies, 1 MiB of read-ahead, pages kept). Only what reading needs; foreground.
 *
 *     passthrough FOLDER MOUNTPOINT
 */
#define _GNU_SOURCE
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VALID 1.0 /* s, as ours */
#define AHEAD (1024 * 1024)

static int root;

/* A node's number is its O_PATH descriptor, which stays open: what is read here are a few files. */
static int node(fuse_ino_t ino) {
    return ino == FUSE_ROOT_ID ? root : (int)ino;
}

static void init(void *data, struct fuse_conn_info *conn) {
    (void)data;
    conn->want |= conn->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                                   FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA);
    conn->max_readahead = AHEAD;
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name) {
    struct fuse_entry_param e = {.attr_timeout = VALID, .entry_timeout = VALID};
    int fd = openat(node(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &e.attr) < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    e.ino = (fuse_ino_t)fd;
    fuse_reply_entry(req, &e);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    struct stat st;
    (void)fi;
    if (fstatat(node(ino), "", &st, AT_EMPTY_PATH) < 0)
        fuse_reply_err(req, errno);
    else
        fuse_reply_attr(req, &st, VALID);
}

static void open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", node(ino));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fuse_reply_err(req, errno);
        return;
    }
    fi->fh = (uint64_t)fd;
    fi->keep_cache = 1;
    fuse_reply_open(req, fi);
}

static void read_file(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                      struct fuse_file_info *fi) {
    struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
    (void)ino;
    buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    buf.buf[0].fd = (int)fi->fh;
    buf.buf[0].pos = offset;
    fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
}

static void release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi) {
    (void)ino;
    close((int)fi->fh);
    fuse_reply_err(req, 0);
}

static const struct fuse_lowlevel_ops ops = {.init = init,
                                             .lookup = lookup,
                                             .getattr = getattr,
                                             .open = open_file,
                                             .read = read_file,
                                             .release = release};

int main(int argc, char **argv) {
    char *words[] = {argv[0], "-oro,allow_other,fsname=passthrough"};
    struct fuse_args args = FUSE_ARGS_INIT(2, words);
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    if (argc != 3 || (root = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        return 2;
    struct fuse_session *session = fuse_session_new(&args, &ops, sizeof ops, NULL);
    if (!session || !config || fuse_set_signal_handlers(session) != 0 ||
        fuse_session_mount(session, argv[2]) != 0)
        return 1;
    int result = fuse_session_loop_mt(session, config);
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
    fuse_session_destroy(session);
    return result != 0;
}
