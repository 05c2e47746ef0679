/* The table of nodes as its three files see it: nodes_table.c, who is known and whose descriptor is kept, nodes_open.c, how they are
 * opened, and nodes.c, how the bridge is told of them. What is named table_ is called with the table's lock held. */
#pragma once

#include "agent/files/nodes.h"

#include <pthread.h>
#include <sys/sysmacros.h>

enum { NODES_BUCKETS = 16384 };

struct node {
    uint64_t id, inode, device, birth;
    uint64_t told; /* look-ups that the kernel has not forgotten */
    uint32_t uses; /* pins, and nodes whose parent it is */
    uint32_t pins;
    int fd; /* -1: closed */
    mode_t type;
    struct node *parent; /* NULL: the root */
    char *name;
    struct node *by_id, *by_inode;
    struct node *newer, *older; /* of those that have a descriptor and no pin */
};

struct nodes {
    pthread_mutex_t lock;
    struct node *ids[NODES_BUCKETS], *inodes[NODES_BUCKETS];
    struct node *newest, *oldest;
    uint32_t idle, count;
    uint64_t next_id;
    struct node root;
};

static inline uint64_t device_of(const struct statx *st) {
    return makedev(st->stx_dev_major, st->stx_dev_minor);
}

struct node *table_by_id(struct nodes *t, uint64_t id);
struct node *table_by_inode(struct nodes *t, const struct statx *st);
void table_insert(struct nodes *t, struct node *n);
void table_pin(struct nodes *t, struct node *n);
void table_unpin(struct nodes *t, struct node *n);
/* It has a descriptor and no pin: the descriptor is kept as long as it is among the NODES_OPEN used last. */
void table_idle(struct nodes *t, struct node *n);
/* Frees those of a line of parents that nobody knows any more. */
void table_release(struct nodes *t, struct node *n);

/* With the time of birth, by which one is told from another that has its number. */
int node_stat(int fd, struct statx *st);
