/* See table.h.
 *
 * libnftables opens its socket in nft_ctx_new and keeps that one: since 1.0.1 it no longer closes and opens it again when a
 * dump was interrupted, which would have cost the table (commit "src: remove nft_mnl_socket_reopen()"). That it is fd 0 is checked
 * here, and that it still is, by its inode, after each run. It does not set CLOEXEC; a child that was exec'd would keep the
 * table. */
#include "agent/gate/table.h"

#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <linux/netlink.h>

struct table {
    struct nft_ctx *nft;
    ino_t socket;
    char script[64 * 1024]; /* 1,024 ports in two sets and a map are 28 KiB */
};

/* `flags owner` came with Linux 5.12. */
static int check_kernel(struct fault *f) {
    struct utsname u;
    unsigned major = 0, minor = 0;
    if (uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
        (major < 5 || (major == 5 && minor < 12)))
        return fault_set(f, ENOTSUP,
                         "stealing needs Linux 5.12 or newer on the target's node, which has %s",
                         u.release);
    return 0;
}

static bool is_nftables_socket(int fd) {
    int domain = 0, protocol = 0;
    socklen_t n = sizeof domain;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_NETLINK &&
           getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &n) == 0 &&
           protocol == NETLINK_NETFILTER;
}

static ino_t inode_of(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* nft's own words: their first line says what and why. */
static int refused(struct table *t, const char *doing, struct fault *f) {
    int err = errno;
    const char *said = nft_ctx_get_error_buffer(t->nft);
    return fault_set(f, 0, "%s: %.*s (%d)", doing, said ? (int)strcspn(said, "\n") : 0,
                     said ? said : "", err);
}

static int run(struct table *t, const char *doing, struct fault *f) {
    if (nft_run_cmd_from_buffer(t->nft, t->script) != 0)
        return refused(t, doing, f);
    if (inode_of(TABLE_FD) != t->socket)
        return fault_set(f, 0, "%s: libnftables has changed its socket, and so lost the table",
                         doing);
    return 0;
}

/* The kernel says EPERM of a table that another socket owns, EEXIST or EOPNOTSUPP of one that nobody does. Whose it is
 * stands in its comment. */
static bool is_anothers(struct table *t, struct fault *f) {
    char comment[RULES_COMMENT + 16];
    nft_ctx_buffer_output(t->nft);
    bool there = nft_run_cmd_from_buffer(t->nft, "list table inet " RULES_TABLE) == 0;
    const char *listed = nft_ctx_get_output_buffer(t->nft);
    if (there) {
        bool said = listed && rules_comment_of(listed, comment, sizeof comment);
        fault_set(f, 0, "%s", said ? comment : "another program, which left no word");
        f->err = EEXIST;
    }
    nft_ctx_unbuffer_output(t->nft);
    return there;
}

static int open_socket(struct table *t, struct fault *f) {
    t->nft = nft_ctx_new(NFT_CTX_DEFAULT);
    if (!t->nft)
        return fault_set(f, errno, "start libnftables");
    if (!is_nftables_socket(TABLE_FD))
        return fault_set(f, 0, "libnftables did not take fd 0 for its socket");
    t->socket = inode_of(TABLE_FD);
    fcntl(TABLE_FD, F_SETFD, FD_CLOEXEC);
    nft_ctx_buffer_error(t->nft);
    return 0;
}

struct table *table_new(struct fault *f) {
    if (check_kernel(f) != 0)
        return NULL;
    struct table *t = calloc(1, sizeof *t);
    if (!t)
        fault_set(f, ENOMEM, "make the table");
    else if (open_socket(t, f) != 0) {
        table_free(t);
        t = NULL;
    }
    return t;
}

/* A kernel without `ct timeout` forgets a client's last connection by itself, some time later. */
int table_make(struct table *t, const char *comment, struct fault *f) {
    static const bool ways[] = {true, false};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        CHECK(rules_table(comment, ways[i], t->script, sizeof t->script));
        if (run(t, "make the table " RULES_TABLE " in the target", f) == 0)
            return 0;
        if (is_anothers(t, f))
            return -1;
    }
    return -1;
}

void table_free(struct table *t) {
    if (!t)
        return;
    if (t->nft)
        nft_ctx_free(t->nft);
    free(t);
}

int table_meshes(struct table *t, const uint32_t *uid, size_t count, struct fault *f) {
    if (!rules_meshes(uid, count, t->script, sizeof t->script))
        return fault_set(f, E2BIG, "know %zu user ids of meshes", count);
    return run(t, "change the user ids of meshes", f);
}

int table_swap(struct table *t, const struct rules_port *p, size_t count, struct fault *f) {
    if (!rules_swap(p, count, t->script, sizeof t->script))
        return fault_set(f, E2BIG, "steal %zu ports", count);
    return run(t, "change the stolen ports", f);
}
