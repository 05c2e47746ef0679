#include "agent/files/nodes_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* --- telling ------------------------------------------------------------------------------------------------------------ */

static bool is_below(const struct node *n, const struct node *above) {
    for (; n; n = n->parent)
        if (n == above)
            return true;
    return false;
}

/* A name in a folder that lies below itself there can be for a moment only, while the target moves folders about. */
static void set_name(struct nodes *t, struct node *n, struct node *parent, const char *name) {
    bool same = n->name && n->parent == parent && strcmp(n->name, name) == 0;
    if (n == &t->root || same || is_below(parent, n))
        return;
    char *copy = strdup(name);
    if (!copy)
        return;
    free(n->name);
    n->name = copy;
    struct node *former = n->parent;
    n->parent = parent;
    parent->uses++;
    if (former) {
        former->uses--;
        table_release(t, former);
    }
}

static struct node *make(struct nodes *t, const struct statx *st) {
    if (t->count >= NODES_MAX)
        return NULL;
    struct node *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    *n = (struct node){.id = t->next_id++,
                       .inode = st->stx_ino,
                       .device = device_of(st),
                       .birth = node_generation(st),
                       .type = st->stx_mode & S_IFMT,
                       .fd = -1};
    table_insert(t, n);
    return n;
}

/* A new node has no name until set_name gave it one; without memory for that it cannot be. */
static struct node *named(struct nodes *t, struct node *parent, const char *name,
                          const struct statx *st) {
    struct node *n = table_by_inode(t, st);
    if (!n)
        n = make(t, st);
    if (!n)
        return NULL;
    set_name(t, n, parent, name);
    if (n != &t->root && !n->name) {
        table_release(t, n);
        return NULL;
    }
    return n;
}

uint64_t nodes_told(struct nodes *t, struct node *parent, const char *name, int fd,
                    const struct statx *st) {
    pthread_mutex_lock(&t->lock);
    struct node *n = named(t, parent, name, st);
    if (n) {
        n->told++;
        if (n->fd < 0 && fd >= 0) {
            n->fd = fd;
            fd = -1;
            if (n->pins == 0)
                table_idle(t, n);
        }
    }
    uint64_t id = n ? n->id : 0;
    pthread_mutex_unlock(&t->lock);
    if (fd >= 0)
        close(fd);
    errno = ENOMEM;
    return id;
}

void nodes_forget(struct nodes *t, uint64_t id, uint64_t times) {
    pthread_mutex_lock(&t->lock);
    struct node *n = table_by_id(t, id);
    if (n && n != &t->root) {
        n->told -= times < n->told ? times : n->told;
        table_release(t, n);
    }
    pthread_mutex_unlock(&t->lock);
}

void nodes_renamed(struct nodes *t, struct node *parent, const char *name) {
    struct statx st;
    int fd;
    if (nodes_look(parent, name, true, &fd, &st) < 0)
        return;
    pthread_mutex_lock(&t->lock);
    struct node *n = table_by_inode(t, &st);
    if (n)
        set_name(t, n, parent, name);
    pthread_mutex_unlock(&t->lock);
    close(fd);
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

/* Numbers begin anywhere: those of a service that was here before are nobody's, and not another file's. */
static uint64_t first_id(void) {
    uint32_t random = 1;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = (uint32_t)getpid();
    return ((uint64_t)random << 28 | 1u << 27) & (UINT64_MAX >> 1);
}

struct nodes *nodes_new(int root) {
    struct nodes *t = calloc(1, sizeof *t);
    struct statx st;
    if (!t || node_stat(root, &st) < 0) {
        free(t);
        close(root);
        return NULL;
    }
    pthread_mutex_init(&t->lock, NULL);
    t->next_id = first_id();
    t->root = (struct node){.id = NODES_ROOT,
                            .inode = st.stx_ino,
                            .device = device_of(&st),
                            .birth = node_generation(&st),
                            .type = S_IFDIR,
                            .told = 1,
                            .fd = root};
    table_insert(t, &t->root);
    return t;
}

void nodes_free(struct nodes *t) {
    for (int i = 0; i < NODES_BUCKETS; i++)
        for (struct node *n = t->ids[i], *next; n; n = next) {
            next = n->by_id;
            if (n->fd >= 0)
                close(n->fd);
            if (n != &t->root) {
                free(n->name);
                free(n);
            }
        }
    pthread_mutex_destroy(&t->lock);
    free(t);
}
