/* One request of FUSE's, served: octets in, octets out, on a file thread. Knows no channel and no thread.
 *
 * A function for each opcode (serve.c has the table): it reads its struct and names from a bounded body, acts on pinned nodes
 * and handles, writes its answer into `out`, and returns 0 or -errno. Nothing of the request is trusted: numbers that are
 * unknown are ESTALE, names with a slash, "." and ".." are EINVAL, sizes are cut to FILES_IO. */
#pragma once

#include "agent/files/handles.h"
#include "agent/files/nodes.h"
#include "native/files_words.h"
#include "native/spares.h"
#include "native/stream.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a service's threads share. */
struct tree {
    struct spares spares; /* of answers with content */
    struct nodes *nodes;
    struct handles handles;
    bool writes, connects;
    uid_t uid, shown_uid; /* the target process's, and how the bridge wants it shown */
    gid_t gid, shown_gid;
};

struct ask {
    struct tree *tree;
    const struct fuse_in_header *head;
    const uint8_t *body;
    size_t left; /* of the body */
    struct message *answer;
    size_t made; /* octets of its body */
};

/* The answer, NULL for what has none (FORGET), or for want of memory. `request` is whole and as long as its header says. */
struct message *serve(struct tree *t, const struct message *request);
/* The same for a request made here (walk.c). */
struct message *serve_as(struct tree *t, const struct fuse_in_header *head, const void *body,
                         size_t n);
/* Whether it is a request to change something. */
bool serve_changes(uint32_t opcode);

/* --- for the functions --- */

/* The next `n` octets of the body, or NULL. */
const void *ask_take(struct ask *a, size_t n);
/* The next name: up to a NUL, one part of a path. 0, or -errno. */
int ask_name(struct ask *a, const char **name);
int ask_text(struct ask *a, const char **text); /* any, not empty */
/* Room for an answer of up to `n` octets, zeroed; NULL: no memory. ask_made: how many it has become. */
void *ask_room(struct ask *a, size_t n);
void *ask_raw(struct ask *a,
              size_t n); /* not zeroed: for content, of which what was not read is not sent */
void ask_made(struct ask *a, size_t n);

/* The attributes as the bridge's kernel is shown them. */
void attr_of(const struct tree *t, const struct statx *st, struct fuse_attr *out);
uint32_t uid_within(const struct tree *t, uint32_t shown);
uint32_t gid_within(const struct tree *t, uint32_t shown);

/* How long the bridge's kernel may go by what it was told: names, attributes, and that there is no such name. Seconds. */
#define FILES_VALID 1

/* Looks `name` up in a pinned folder and tells the bridge of it: 0 or -errno. `across`: as nodes_look. */
int look_up(struct tree *t, struct node *parent, const char *name, bool across,
            struct fuse_entry_out *out);
/* 0, or -EACCES: this file system is none that is served (/proc, /sys and their like). */
int served_here(int fd);
/* "/proc/self/fd/N": by which the kernel opens, changes and asks what an O_PATH descriptor holds. */
void fd_path(char out[32], int fd);
/* Opens a pinned node anew. A descriptor, or -errno; ENXIO: a device, a FIFO or a socket, which are not served. */
int open_node(const struct node *n, int flags);

#define SERVES(name) int name(struct ask *a)
SERVES(serve_lookup);
SERVES(serve_getattr);
SERVES(serve_readlink);
SERVES(serve_statfs);
SERVES(serve_access);
SERVES(serve_getxattr);
SERVES(serve_listxattr);
SERVES(serve_open);
SERVES(serve_read);
SERVES(serve_lseek);
SERVES(serve_release);
SERVES(serve_opendir);
SERVES(serve_readdir);
SERVES(serve_readdirplus);
SERVES(serve_setattr);
SERVES(serve_create);
SERVES(serve_write);
SERVES(serve_fsync);
SERVES(serve_fallocate);
SERVES(serve_mkdir);
SERVES(serve_symlink);
SERVES(serve_unlink);
SERVES(serve_rmdir);
SERVES(serve_rename);
SERVES(serve_rename2);
SERVES(serve_link);
SERVES(serve_setxattr);
SERVES(serve_removexattr);
SERVES(serve_walk);
SERVES(serve_connect);
#undef SERVES
