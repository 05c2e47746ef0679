/* Folders, read in pieces: names alone, or each with its attributes (readdirplus), so that `ls -l` asks once for many.
 *
 * An offset is the file system's own cookie (d_off), to which any later read may return: a place is sought only when it is not
 * where the last read ended. Entries that did not fit are read again by the next request. */
#include "agent/files/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KERNEL = 32 * 1024 };

struct entry { /* getdents64(2) */
    uint64_t ino;
    int64_t off;
    uint16_t len;
    uint8_t type;
    char name[];
} __attribute__((packed));

struct page {
    struct ask *ask;
    struct handle *folder;
    uint8_t *out;
    size_t size, made;
    bool plus;
};

static size_t padded(size_t n) {
    return (n + 7) & ~(size_t)7;
}

static bool is_dots(const char *name) {
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Whether it fits. What is mounted there is not looked at, for its disk may hang, and then who lists the folder would; it is named
 * all the same: node 0 tells the kernel nothing. */
static bool add(struct page *p, const struct entry *e) {
    size_t len = strlen(e->name), head = p->plus ? sizeof(struct fuse_entry_out) : 0;
    size_t whole = padded(head + FUSE_NAME_OFFSET + len);
    if (p->made + whole > p->size)
        return false;
    uint8_t *at = p->out + p->made;
    if (p->plus && !is_dots(e->name)) {
        struct fuse_entry_out told;
        if (look_up(p->ask->tree, p->folder->node, e->name, false, &told) == 0)
            memcpy(at, &told, sizeof told);
    }
    struct fuse_dirent d = {
        .ino = e->ino, .off = (uint64_t)e->off, .namelen = (uint32_t)len, .type = e->type};
    memcpy(at + head, &d, FUSE_NAME_OFFSET);
    memcpy(at + head + FUSE_NAME_OFFSET, e->name, len);
    p->made += whole;
    return true;
}

/* One getdents64: 1 more may come, 0 the end or the page is full, -errno. */
static int some(struct page *p) {
    uint8_t kernel[KERNEL];
    size_t want = p->plus ? (p->size - p->made) / 4 : p->size - p->made;
    if (want < 1024)
        want = 1024; /* the longest name */
    long n = syscall(SYS_getdents64, p->folder->fd, kernel, want < KERNEL ? want : KERNEL);
    if (n <= 0)
        return n < 0 ? -errno : 0;
    for (long at = 0; at < n;) {
        const struct entry *e = (const void *)(kernel + at);
        if (!add(p, e)) {
            p->folder->at = -1; /* the kernel is past it */
            return 0;
        }
        p->folder->at = e->off;
        at += e->len;
    }
    return 1;
}

static int fill(struct page *p, int64_t from) {
    if (p->folder->at != from) {
        p->folder->at = -1;
        if (lseek(p->folder->fd, from, SEEK_SET) < 0)
            return -errno;
    }
    int more;
    while ((more = some(p)) > 0)
        continue;
    return more; /* an error of the disk's is told at once: a page that is not full says that the folder ends there */
}

static int read_folder(struct ask *a, bool plus) {
    const struct fuse_read_in *in = ask_take(a, sizeof *in);
    struct handle *h = in ? handles_use(&a->tree->handles, in->fh) : NULL;
    if (!h)
        return in ? -errno : -EINVAL;
    struct page p = {.ask = a, .folder = h, .plus = plus};
    p.size = in->size < FILES_IO ? in->size : FILES_IO;
    p.out = ask_room(a, p.size);
    int err = -ENOMEM;
    if (p.out && node_type(h->node) != S_IFDIR)
        err = -ENOTDIR;
    else if (p.out) {
        pthread_mutex_lock(&h->reading);
        err = fill(&p, (int64_t)in->offset);
        pthread_mutex_unlock(&h->reading);
    }
    handles_done(&a->tree->handles, h);
    ask_made(a, p.made);
    return err;
}

int serve_readdir(struct ask *a) {
    return read_folder(a, false);
}

int serve_readdirplus(struct ask *a) {
    return read_folder(a, true);
}
