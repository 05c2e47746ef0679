/* What the bridge's kernel knows of the target's tree: a number for each inode that it was told of, until it forgets it.
 *
 * A node is its inode (device, number, time of birth) and the last name it was seen under. A descriptor (O_PATH) is kept for
 * the NODES_OPEN used last; another's is opened anew by its name from its parent, and must be the same inode, else ESTALE, upon
 * which the kernel looks the name up again. So 100,000 names cost memory and no descriptors, and one that is in use stays what
 * it is, whatever becomes of its name.
 *
 * Every open is by one name below a descriptor (RESOLVE_BENEATH, no symlinks, no magic links): what the target renames
 * meanwhile can lead to another of its own files at most. Everything may be called from any of the service's threads. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#define NODES_OPEN 1024
#define NODES_MAX  (1024 * 1024) /* 150 octets each */
#define NODES_ROOT 1

struct nodes;
struct node;

/* `root` (O_PATH) is taken, also on failure: NULL. */
struct nodes *nodes_new(int root);
void nodes_free(struct nodes *t);

/* The node of this number, its descriptor open until nodes_unpin. NULL: errno (ESTALE: unknown, or another inode by now). */
struct node *nodes_pin(struct nodes *t, uint64_t id);
void nodes_unpin(struct nodes *t, struct node *n);
int node_fd(const struct node *n);      /* O_PATH; of a pinned one */
mode_t node_type(const struct node *n); /* S_IFMT's part */
uint64_t node_device(const struct node *n);

/* What `name` in a pinned folder is now. -errno, or 0: *fd, O_PATH, a symlink itself and not where it leads; *st. `across`: also if
 * something else is mounted there; else that is -EXDEV. */
int nodes_look(const struct node *parent, const char *name, bool across, int *fd, struct statx *st);
/* The bridge is told of this inode once more: its number, or 0 and errno. `fd` (or -1) is taken. */
uint64_t nodes_told(struct nodes *t, struct node *parent, const char *name, int fd,
                    const struct statx *st);
uint64_t node_generation(const struct statx *st);
void nodes_forget(struct nodes *t, uint64_t id, uint64_t times);
/* Another name for an inode that is known. */
void nodes_renamed(struct nodes *t, struct node *parent, const char *name);
