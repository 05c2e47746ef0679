/* A path walked at one go: the requests that the bridge's kernel would make one after another, made here and answered together.
 *
 * Each is served as if it had come from there (serve_as), so what it may do and what it tells are the same, and the bridge
 * hands each answer to its kernel when that asks. It ends at the path's end or at what is wrong with it: a name that is not
 * there is an answer too. Symlinks are followed as RESOLVE_IN_ROOT does: an absolute one begins at the root, ".." at the root
 * is the root. More than LINKS of them end it, and the kernel finds out for itself. */
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { LINKS = 40, DEPTH = 64, ROOM = 128 * 1024 };

_Static_assert(ROOM + 4096 <= FILES_MESSAGE && FILES_AHEAD <= ROOM / 2, "its answer is a message");

struct walk {
    struct tree *tree;
    uint8_t *out;
    size_t made;
    uint64_t way
        [DEPTH]; /* the folders from the root to here; the last is where the next name is looked up */
    int depth;
    int links;
    char rest[2 * PATH_MAX]; /* what is still to be walked */
};

static size_t padded(size_t n) {
    return (n + 7) & ~(size_t)7;
}

/* Octets that the answer to a request may have. */
static size_t most(uint32_t opcode) {
    switch (opcode) {
    case FUSE_READ:
    case FUSE_READDIRPLUS:
        return FILES_AHEAD;
    case FUSE_READLINK:
        return PATH_MAX;
    default:
        return sizeof(struct fuse_entry_out);
    }
}

/* Serves one request and records it, if there is room for whatever is answered: an answer that the bridge is not told of would
 * be a look-up that nobody forgets. The answer's body, or NULL: there is no room, or it failed, and that is recorded. */
static const void *record(struct walk *w, uint32_t opcode, uint64_t node, const void *body,
                          size_t n, size_t *len) {
    struct fuse_in_header head = {.opcode = opcode, .nodeid = node};
    size_t name = opcode == FUSE_LOOKUP ? n - 1 : 0;
    if (w->made + padded(sizeof(struct files_record) + name + most(opcode)) > ROOM)
        return NULL;
    struct message *m = serve_as(w->tree, &head, body, n);
    if (!m)
        return NULL;
    const struct fuse_out_header *said = (const void *)m->data;
    *len = m->len - sizeof *said;
    struct files_record r = {.opcode = opcode,
                             .error = said->error,
                             .node = node,
                             .name_len = (uint32_t)name,
                             .len = (uint32_t)*len};
    uint8_t *at = w->out + w->made;
    memcpy(at, &r, sizeof r);
    memcpy(at + sizeof r, body, name);
    memcpy(at + sizeof r + name, said + 1, *len);
    w->made += padded(sizeof r + name + *len);
    spares_give(&w->tree->spares, m);
    return r.error == 0 ? at + sizeof r + name : NULL;
}

/* The next name of the rest, cut off it; NULL at its end. `last`: nothing but slashes follows. */
static const char *next_name(struct walk *w, char name[NAME_MAX + 1], bool *last) {
    size_t slashes = strspn(w->rest, "/"), len = strcspn(w->rest + slashes, "/");
    if (len == 0 || len > NAME_MAX)
        return NULL;
    memcpy(name, w->rest + slashes, len);
    name[len] = '\0';
    const char *after = w->rest + slashes + len;
    *last = after[strspn(after, "/")] == '\0' && *after == '\0';
    memmove(w->rest, after, strlen(after) + 1);
    return name;
}

/* The link's text goes ahead of the rest. Whether the walk goes on. */
static bool follow(struct walk *w, uint64_t link) {
    size_t len = 0;
    const char *text = w->links++ < LINKS ? record(w, FUSE_READLINK, link, "", 0, &len) : NULL;
    size_t rest = strlen(w->rest);
    if (!text || len == 0 || len + 1 + rest >= sizeof w->rest)
        return false;
    memmove(w->rest + len + 1, w->rest, rest + 1);
    memcpy(w->rest, text, len);
    w->rest[len] = '/';
    if (rest == 0)
        w->rest[len] = '\0';
    if (text[0] == '/')
        w->depth = 0;
    return true;
}

/* One name further: the node where the path ends, or 0 with *more whether it goes on. */
static uint64_t step(struct walk *w, bool no_follow, bool *more) {
    char name[NAME_MAX + 1];
    bool last;
    size_t len;
    *more = false;
    if (!next_name(w, name, &last))
        return 0;
    *more = !last;
    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0) {
        w->depth -= w->depth > 0;
        return 0;
    }
    const struct fuse_entry_out *found =
        record(w, FUSE_LOOKUP, w->way[w->depth], name, strlen(name) + 1, &len);
    struct fuse_entry_out entry;
    if (found)
        memcpy(&entry, found, sizeof entry);
    if (!found || entry.nodeid == 0) {
        *more = false;
        return 0;
    }
    if (S_ISLNK(entry.attr.mode) && !(last && no_follow)) {
        *more = follow(w, entry.nodeid);
        return 0;
    }
    if (last)
        return entry.nodeid;
    *more = S_ISDIR(entry.attr.mode) && w->depth + 1 < DEPTH;
    if (*more)
        w->way[++w->depth] = entry.nodeid;
    return 0;
}

static mode_t type_of(const struct walk *w, uint64_t node) {
    struct node *n = nodes_pin(w->tree->nodes, node);
    mode_t type = n ? node_type(n) : 0;
    if (n)
        nodes_unpin(w->tree->nodes, n);
    return type;
}

static void open_and_read(struct walk *w, uint64_t node, const struct files_walk *in) {
    bool folder = type_of(w, node) == S_IFDIR;
    if (folder ? in->open < 2 : type_of(w, node) != S_IFREG)
        return;
    struct fuse_open_in open = {.flags = in->flags};
    size_t len;
    const void *opened =
        record(w, folder ? FUSE_OPENDIR : FUSE_OPEN, node, &open, sizeof open, &len);
    if (!opened)
        return;
    struct fuse_open_out out;
    memcpy(&out, opened, sizeof out);
    struct fuse_read_in read = {.fh = out.fh, .size = FILES_AHEAD};
    if (!folder && in->size < FILES_AHEAD)
        read.size = in->size;
    record(w, folder ? FUSE_READDIRPLUS : FUSE_READ, node, &read, sizeof read, &len);
}

int serve_walk(struct ask *a) {
    const struct files_walk *in = ask_take(a, sizeof *in);
    const char *path;
    int err = in ? ask_text(a, &path) : -EINVAL;
    if (err || path[0] != '/' || (in->open && (in->flags & O_ACCMODE) != O_RDONLY))
        return err ? err : -EINVAL;
    struct walk *w = malloc(sizeof *w);
    void *out = ask_room(a, ROOM);
    if (!w || !out) {
        free(w);
        return -ENOMEM;
    }
    *w = (struct walk){.tree = a->tree, .out = out, .way = {NODES_ROOT}};
    memcpy(w->rest, path, strlen(path) + 1); /* ask_text has bounded it */
    uint64_t end = 0;
    for (bool more = true; more && !end;)
        end = step(w, in->no_follow, &more);
    if (end && in->open)
        open_and_read(w, end, in);
    ask_made(a, w->made);
    free(w);
    return 0;
}
