#include "agent/verdict.h"

#include "agent/conntrack.h"
#include "native/sockdiag.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <unistd.h>

#define MEMORY 64 /* places; two that meet push each other out, which costs a question more */

struct memory {
    struct endpoint own;
    int ifindex;
    bool known, is_own;
};

struct verdict {
    int diag_fd, conntrack_fd;
    struct memory memory[MEMORY];
};

struct verdict *verdict_new(int diag_fd) {
    struct verdict *v = calloc(1, sizeof *v);
    if (!v) {
        close(diag_fd);
        return NULL;
    }
    v->diag_fd = diag_fd;
    v->conntrack_fd = -1;
    return v;
}

void verdict_free(struct verdict *v) {
    close(v->diag_fd);
    if (v->conntrack_fd >= 0)
        close(v->conntrack_fd);
    free(v);
}

void verdict_conntrack(struct verdict *v, int fd) {
    if (v->conntrack_fd >= 0)
        close(v->conntrack_fd);
    v->conntrack_fd = fd;
}

static struct memory *recall(struct verdict *v, const struct endpoint *own, int ifindex) {
    struct memory *m = &v->memory[endpoint_hash(own, (uint32_t)ifindex) % MEMORY];
    if (m->known && (m->ifindex != ifindex || !endpoint_equal(&m->own, own)))
        m->known = false;
    return m;
}

static bool remember(struct memory *m, const struct endpoint *own, int ifindex, bool is_own) {
    *m = (struct memory){.own = *own, .ifindex = ifindex, .known = true, .is_own = is_own};
    return is_own;
}

/* 1: it is redirected; 0: not, or nothing is tracked here; -1: that could not be found out. */
static int redirected(const struct verdict *v, const struct endpoint *own,
                      const struct endpoint *peer) {
    return v->conntrack_fd < 0 ? 0 : conntrack_redirects(v->conntrack_fd, own, peer, NULL);
}

bool verdict_is_own(struct verdict *v, const struct endpoint *own, const struct endpoint *peer,
                    const struct endpoint *origin, int ifindex, bool loopback) {
    struct memory *m = recall(v, own, ifindex);
    int elsewhere = loopback ? 0 : redirected(v, own, origin);
    if (elsewhere == 1)
        return false;
    if (sockdiag_has_tcp(v->diag_fd, own, peer, NULL) == 1)
        return remember(m, own, ifindex, true);
    if (m->known)
        return m->is_own;
    if (loopback) {
        elsewhere = redirected(v, own, origin);
        if (elsewhere == 1)
            return remember(m, own, ifindex, false);
    }
    if (elsewhere < 0)
        return false; /* not certain, so not shown; the next connection asks again */
    return sockdiag_accepts(v->diag_fd, IPPROTO_TCP, own, NULL) == 1;
}

bool verdict_origin(struct verdict *v, const struct endpoint *own, const struct endpoint *peer,
                    struct endpoint *origin) {
    return v->conntrack_fd >= 0 && conntrack_origin(v->conntrack_fd, own, peer, origin, NULL) == 1;
}

bool verdict_is_alive(struct verdict *v, const struct endpoint *own, const struct endpoint *peer) {
    return sockdiag_has_tcp(v->diag_fd, own, peer, NULL) !=
           0; /* a question that failed is no death certificate */
}
