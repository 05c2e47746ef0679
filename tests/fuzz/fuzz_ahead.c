/* Invariant: whatever an agent answers to WALK and READDIRPLUS, what the kernel is given is whole: its length is its header's,
 * an error has no body, a piece of a folder fits into what the kernel has room for; and all memory is given back.
 *
 * The input: one octet how to read it, one for the size, then the agent's octets; the questions are asked of what they left.
 *
 * Sources: native layer/files/ahead.c layer/files/pages.c
 */
#include "layer/files/ahead.h"
#include "layer/files/pages.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(struct message *m, uint32_t most) {
    if (!m)
        return;
    const struct fuse_out_header *out = (const void *)m->data;
    if (out->len != m->len || (out->error && m->len != sizeof *out) || m->len > sizeof *out + most)
        abort();
    free(m);
}

static struct message *question(uint32_t opcode, uint64_t node, const void *body, size_t n) {
    struct message *m = message_new(sizeof(struct fuse_in_header) + n);
    struct fuse_in_header *head = (void *)m->data;
    *head = (struct fuse_in_header){.len = m->len, .opcode = opcode, .unique = 4, .nodeid = node};
    memcpy(head + 1, body, n);
    return m;
}

static void ask(struct ahead *a, uint32_t opcode, uint64_t node, const void *body, size_t n,
                uint32_t most) {
    struct message *m = question(opcode, node, body, n);
    check(ahead_answer(a, m), most);
    free(m);
}

static void give_back(void *ctx, const struct ahead_answer *one) {
    uint64_t *sum = ctx;
    for (uint32_t i = 0; i < one->name_len + one->len; i++)
        *sum += one->octets[i];
}

static void walks(const uint8_t *p, size_t n, uint32_t size) {
    struct ahead a;
    struct fuse_read_in read = {.size = size};
    struct fuse_open_in open = {0};
    uint64_t sum = 0;
    ahead_init(&a);
    ahead_add(&a, 7, p, n);
    for (uint64_t node = 0; node < 4; node++) {
        ask(&a, FUSE_LOOKUP, node, "a", 2, sizeof(struct fuse_entry_out));
        ask(&a, FUSE_READLINK, node, "", 0, UINT32_MAX / 2);
        ask(&a, FUSE_OPEN, node, &open, sizeof open, sizeof(struct fuse_open_out));
        ask(&a, FUSE_OPENDIR, node, &open, sizeof open, sizeof(struct fuse_open_out));
        check(ahead_page(&a, node), UINT32_MAX / 2);
        ask(&a, FUSE_READ, node, &read, sizeof read, size);
        ask(&a, FUSE_READ, node, &read, 4, size);
    }
    ahead_stale(&a, 1);
    ahead_drop(&a, 7, give_back, &sum);
    ahead_clear(&a);
}

static void forget(struct pages *p, uint64_t node) {
    (void)p;
    if (node == 0)
        abort();
}

static void folders(const uint8_t *p, size_t n, uint32_t size, bool plus) {
    struct pages t;
    pages_init(&t, forget);
    struct message *m = message_new(sizeof(struct fuse_out_header) + n);
    *(struct fuse_out_header *)m->data = (struct fuse_out_header){.len = m->len, .unique = 2};
    memcpy(m->data + sizeof(struct fuse_out_header), p, n);
    check(pages_cut(&t, m, 3, size, plus), size);
    struct fuse_read_in in = {.fh = 3, .size = size};
    for (in.offset = 0; in.offset < 4; in.offset++) {
        struct message *q = question(plus ? FUSE_READDIRPLUS : FUSE_READDIR, 1, &in, sizeof in);
        uint32_t room;
        check(pages_answer(&t, q, &room), size);
        free(q);
    }
    pages_released(&t, 3);
    pages_clear(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n < 2)
        return 0;
    uint32_t size = p[1] * 16u;
    if (p[0] % 3 == 0)
        walks(p + 2, n - 2, size);
    else
        folders(p + 2, n - 2, size, p[0] % 3 == 1);
    return 0;
}
