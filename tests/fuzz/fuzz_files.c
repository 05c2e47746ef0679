/* Invariant: whatever requests a bridge sends, each that awaits an answer has one, whole, with an error that is one; and nothing
 * outside the root is touched, whatever names they have.
 *
 * The input is a sequence of requests: opcode, node, octets of body (u8 each), then the body. The root is a folder of a tmpfs
 * of this process's own, so that nothing of it is left.
 *
 * Sources: native agent/files/serve.c agent/files/look.c agent/files/content.c agent/files/folder.c agent/files/change.c agent/files/names.c agent/files/walk.c agent/files/nodes.c agent/files/nodes_open.c agent/files/nodes_table.c agent/files/handles.c agent/files/socket.c
 */
#include "agent/files/serve.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static void must(int result) {
    if (result < 0) {
        perror("fuzz_files");
        abort();
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    if (unshare(CLONE_NEWNS) < 0)
        must(unshare(CLONE_NEWUSER | CLONE_NEWNS));
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    return 0;
}

/* A root with a file, a folder and links, made anew for each input. */
static void plant(void) {
    must(mount("none", "/mnt", "tmpfs", 0, "size=16m"));
    must(mkdir("/mnt/outside", 0700));
    must(mkdir("/mnt/root", 0755));
    must(mkdir("/mnt/root/a", 0755));
    int fd = open("/mnt/root/f", O_WRONLY | O_CREAT, 0644);
    must(fd);
    must((int)write(fd, "content", 7));
    close(fd);
    must(symlink("../../../outside", "/mnt/root/l"));
    must(symlink("/f", "/mnt/root/m"));
    must(mkfifo("/mnt/root/q", 0666));
}

static void clear(void) {
    must(rmdir("/mnt/outside")); /* empty, or something got out */
    must(umount2("/mnt", MNT_DETACH));
}

static bool awaits(uint32_t opcode) {
    return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET;
}

/* The nodes and handles that were told of, so that inputs can name them by a small number. */
struct known {
    uint64_t nodes[16], handles[16];
    uint32_t count, opened;
};

static void learn(struct known *k, const struct fuse_in_header *in, const struct message *m) {
    const struct fuse_out_header *out = (const void *)m->data;
    const struct fuse_entry_out *entry = (const void *)(out + 1);
    if (in->opcode == FUSE_LOOKUP && out->error == 0 && k->count < 16)
        k->nodes[k->count++] = entry->nodeid;
    const struct fuse_open_out *open = (const void *)(out + 1);
    if ((in->opcode == FUSE_OPEN || in->opcode == FUSE_OPENDIR) && out->error == 0 &&
        k->opened < 16)
        k->handles[k->opened++] = open->fh;
}

/* The first field of what is asked of a handle. */
static void name_handle(const struct known *k, uint32_t opcode, uint8_t *body, size_t n) {
    bool has = opcode == FUSE_READ || opcode == FUSE_WRITE || opcode == FUSE_READDIR ||
               opcode == FUSE_READDIRPLUS || opcode == FUSE_RELEASE || opcode == FUSE_LSEEK ||
               opcode == FUSE_FSYNC || opcode == FUSE_FALLOCATE || opcode == FUSE_RELEASEDIR;
    if (has && n >= 8 && body[0] < k->opened)
        memcpy(body, &k->handles[body[0]], 8);
}

static void ask(struct tree *t, struct known *k, uint32_t opcode, uint8_t node, const uint8_t *body,
                size_t n) {
    struct message *request = message_new(sizeof(struct fuse_in_header) + n);
    struct fuse_in_header *in = (void *)request->data;
    *in = (struct fuse_in_header){.len = request->len,
                                  .opcode = opcode,
                                  .unique = 2,
                                  .nodeid = node < k->count ? k->nodes[node] : node};
    memcpy(in + 1, body, n);
    name_handle(k, opcode, (uint8_t *)(in + 1), n);
    struct message *m = serve(t, request);
    if ((m != NULL) != awaits(opcode))
        abort();
    if (m) {
        const struct fuse_out_header *out = (const void *)m->data;
        if (out->len != m->len || out->error > 0 || out->error < -4095 || out->unique != 2 ||
            (out->error && out->len != sizeof *out) || m->len > FILES_MESSAGE)
            abort();
        learn(k, in, m);
    }
    free(m);
    free(request);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static struct tree t;
    struct known k = {.nodes = {NODES_ROOT}, .count = 1};
    plant();
    t = (struct tree){.nodes = nodes_new(open("/mnt/root", O_PATH | O_DIRECTORY)), .writes = true};
    if (!t.nodes)
        abort();
    spares_init(&t.spares);
    handles_init(&t.handles, t.nodes);
    while (n >= 3) {
        uint32_t opcode = p[0] == 255 ? FILES_WALK : p[0];
        size_t body = p[2] < n - 3 ? p[2] : n - 3;
        ask(&t, &k, opcode, p[1], p + 3, body);
        p += 3 + body;
        n -= 3 + body;
    }
    handles_clear(&t.handles);
    nodes_free(t.nodes);
    clear();
    return 0;
}
