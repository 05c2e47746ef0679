#include "agent/dial.h"

#include "agent/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int target_init(struct target *t, struct dial_desk *desk, int netns, struct outgoing *out,
                struct fault *f) {
    *t = (struct target){.desk = desk, .out = out};
    t->dials.next = t->dials.prev = &t->dials;
    t->own = own_table_new();
    if (!t->own)
        return fault_set(f, ENOMEM, "a table of the target's own sockets");
    t->netns = fcntl(netns, F_DUPFD_CLOEXEC, 0);
    if (t->netns < 0) {
        own_table_free(t->own);
        return fault_set(f, errno, "keep the target's network namespace");
    }
    return 0;
}

void target_fini(struct target *t, int err) {
    while (t->dials.next != &t->dials)
        t->dials.next->drop(t->dials.next, err);
    close(t->netns);
    own_table_free(t->own);
}

bool dial_owns(void *ctx, const struct endpoint *e) {
    const struct target *t = ctx;
    return own_has(t->own, e);
}

struct channel *dial_open(struct target *t, const struct channel_open *o, int *err) {
    switch (o->kind) {
    case CHANNEL_TCP:
        return dial_tcp(t, o, err);
    case CHANNEL_UDP:
        return dial_udp(t, o, err);
    case CHANNEL_ECHO:
        return dial_echo(t, o, err);
    case CHANNEL_FILES: /* of the target, not of its network */
    case CHANNEL_UNIX:
    case CHANNEL_MIRROR_TCP:
    case CHANNEL_MIRROR_UDP:
    case CHANNEL_STEAL_TCP: /* the agent's to open */
        break;
    }
    *err = EPROTONOSUPPORT;
    return NULL;
}

int dial_socket(struct target *t, int domain, int type, int protocol) {
    struct fault f;
    int fd = netns_socket(t->desk->home, t->netns, domain, type | SOCK_NONBLOCK, protocol, &f);
    if (fd < 0) {
        errno = f.err;
        return -1;
    }
    /*privileged CAP_NET_ADMIN: SO_MARK, by which the mirror and the target's redirect rules know the agent's sockets. */
    if (setsockopt(fd, SOL_SOCKET, SO_MARK, &(uint32_t){DIAL_MARK}, sizeof(uint32_t)) < 0) {
        int err = errno;
        close(fd);
        errno = err;
        return -1;
    }
    return fd;
}

struct own *dial_own(struct target *t, int fd) {
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    struct endpoint e;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0 ||
        !endpoint_from_sockaddr((struct sockaddr *)&sa, &e))
        return NULL;
    return own_add(t->own, &e);
}

void dial_join(struct target *t, struct dial *d, void (*drop)(struct dial *self, int err)) {
    d->drop = drop;
    d->next = &t->dials;
    d->prev = t->dials.prev;
    d->prev->next = d;
    t->dials.prev = d;
}

void dial_leave(struct dial *d) {
    d->prev->next = d->next;
    d->next->prev = d->prev;
}
