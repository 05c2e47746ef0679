#include "agent/files/nodes_table.h"

#include <stdlib.h>
#include <unistd.h>

/* --- the tables --------------------------------------------------------------------------------------------------------- */

static struct node **id_bucket(struct nodes *t, uint64_t id) {
    return &t->ids[id % NODES_BUCKETS];
}

static struct node **inode_bucket(struct nodes *t, uint64_t inode, uint64_t device) {
    return &t->inodes[(inode * 0x9e3779b97f4a7c15u ^ device) % NODES_BUCKETS];
}

struct node *table_by_id(struct nodes *t, uint64_t id) {
    struct node *n = *id_bucket(t, id);
    while (n && n->id != id)
        n = n->by_id;
    return n;
}

struct node *table_by_inode(struct nodes *t, const struct statx *st) {
    uint64_t device = device_of(st), birth = node_generation(st);
    struct node *n = *inode_bucket(t, st->stx_ino, device);
    while (n && (n->inode != st->stx_ino || n->device != device || n->birth != birth))
        n = n->by_inode;
    return n;
}

void table_insert(struct nodes *t, struct node *n) {
    struct node **at = id_bucket(t, n->id);
    n->by_id = *at;
    *at = n;
    at = inode_bucket(t, n->inode, n->device);
    n->by_inode = *at;
    *at = n;
    t->count++;
}

static void unlink_tables(struct nodes *t, struct node *n) {
    struct node **at = id_bucket(t, n->id);
    while (*at != n)
        at = &(*at)->by_id;
    *at = n->by_id;
    at = inode_bucket(t, n->inode, n->device);
    while (*at != n)
        at = &(*at)->by_inode;
    *at = n->by_inode;
    t->count--;
}

/* --- descriptors that are kept ------------------------------------------------------------------------------------------ */

static void idle_remove(struct nodes *t, struct node *n) {
    *(n->newer ? &n->newer->older : &t->newest) = n->older;
    *(n->older ? &n->older->newer : &t->oldest) = n->newer;
    n->newer = n->older = NULL;
    t->idle--;
}

void table_idle(struct nodes *t, struct node *n) {
    n->older = t->newest;
    n->newer = NULL;
    *(t->newest ? &t->newest->newer : &t->oldest) = n;
    t->newest = n;
    if (++t->idle <= NODES_OPEN)
        return;
    struct node *last = t->oldest;
    idle_remove(t, last);
    close(last->fd);
    last->fd = -1;
}

void table_pin(struct nodes *t, struct node *n) {
    if (n->pins++ == 0 && n->fd >= 0 && n != &t->root)
        idle_remove(t, n);
    n->uses++;
}

void table_release(struct nodes *t, struct node *n) {
    while (n && n != &t->root && n->uses == 0 && n->told == 0) {
        struct node *parent = n->parent;
        unlink_tables(t, n);
        if (n->fd >= 0) {
            idle_remove(t, n);
            close(n->fd);
        }
        free(n->name);
        free(n);
        if (parent)
            parent->uses--;
        n = parent;
    }
}

void table_unpin(struct nodes *t, struct node *n) {
    n->uses--;
    if (--n->pins == 0 && n->fd >= 0 && n != &t->root)
        table_idle(t, n);
    table_release(t, n);
}
