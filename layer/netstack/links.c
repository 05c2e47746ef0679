/* See links.h; and the calls from Python that are about links. */
#include "layer/netstack/engine.h"
#include "layer/netstack/mirror.h"

#include "native/thread.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { STACK = 256 * 1024 };

/* --- a link ------------------------------------------------------------------------------------------------------------- */

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    struct link *l = owner;
    struct netstack *ns = l->set->ns;
    struct channel_open placed = *o;
    *err = EPROTONOSUPPORT;
    if (l->set == &ns->filing)
        return NULL;
    placed.destination.addr = mirror_place(ns, &o->destination.addr);
    switch (o->kind) {
    case CHANNEL_MIRROR_TCP:
    case CHANNEL_STEAL_TCP:
        return mirror_tcp(ns, &placed, err);
    case CHANNEL_MIRROR_UDP:
        return assoc_mirror(ns, &placed, err);
    default:
        return NULL;
    }
}

static void files_by(struct links *s, const struct link *l) {
    if (s->files)
        filesystem_link(s->ns->files, l ? l->mux : NULL, l ? l->target : 0);
}

static void link_end(struct link *l) {
    struct mux *m = l->mux;
    if (l->set->primary == l) {
        l->set->primary = NULL;
        files_by(l->set, NULL);
    }
    l->mux = NULL;
    mux_free(m);
}

static void on_gone(void *owner, const struct fault *why) {
    struct link *l = owner;
    event_link_gone(l->set->ns, l->id, why->text);
    link_end(l);
}

static void on_cut(void *owner, const struct fault *why) {
    struct link *l = owner;
    event_link_cut(l->set->ns, l->id, why->text);
}

static const struct mux_ops link_ops = {.open = on_open, .gone = on_gone, .cut = on_cut};

/* --- calls: each is carried to the loop that has the link ----------------------------------------------------------------- */

struct link_call {
    struct links *set;
    int fd; /* -1: taken */
    bool primary, keeps, files;
    int link; /* in or out */
    uint32_t target;
    uint64_t received; /* in or out */
    bool found, files_here;
    int result;
    struct fault *f;
};

static struct link **link_place(const struct link_call *c) {
    struct link **at = &c->set->all;
    while (*at && (*at)->id != c->link)
        at = &(*at)->next;
    return at;
}

/* One that is there, and has not ended. */
static struct link *link_alive(struct link_call *c) {
    struct link *l = *link_place(c);
    c->found = l != NULL;
    if (l && l->mux)
        return l;
    c->result = fault_set(c->f, ENOTCONN, "the link has ended");
    return NULL;
}

static struct link *link_kept(struct link_call *c) {
    struct link *l = link_alive(c);
    if (!l || l->keeps)
        return l;
    c->result = fault_set(c->f, ENOTCONN, "the link keeps nothing");
    return NULL;
}

/* Numbers are given once, so one of the loops has it, or neither. */
static void carry(struct netstack *ns, struct link_call *c, void (*fn)(void *arg)) {
    c->set = &ns->links;
    loop_call(ns->loop, fn, c);
    if (c->found || !ns->filing.loop)
        return;
    c->set = &ns->filing;
    c->result = 0;
    loop_call(ns->filing.loop, fn, c);
}

static void do_link_add(void *arg) {
    struct link_call *c = arg;
    struct links *s = c->set;
    struct link *l = calloc(1, sizeof *l);
    c->link = -1;
    if (!l) {
        close(c->fd);
        fault_set(c->f, ENOMEM, "make a link");
        return;
    }
    l->set = s;
    if (s == &s->ns->filing)
        mux_wide(c->fd);
    l->mux = mux_new(s->loop, c->fd, true, &link_ops, l, c->f);
    if (!l->mux || (c->keeps && mux_keep(l->mux, c->f) < 0)) {
        mux_free(l->mux);
        free(l);
        return;
    }
    l->keeps = c->keeps;
    c->link = l->id = atomic_fetch_add(&s->ns->last_link, 1) + 1;
    l->next = s->all;
    s->all = l;
    if (c->primary) {
        s->primary = l;
        files_by(s, l);
    }
}

int netstack_link_add(struct netstack *ns, int fd, bool primary, bool keeps, struct fault *f) {
    struct link_call c = {.set = &ns->links, .fd = fd, .primary = primary, .keeps = keeps, .f = f};
    loop_call(ns->loop, do_link_add, &c);
    return c.link;
}

static void do_link_del(void *arg) {
    struct link_call *c = arg;
    struct link **at = link_place(c), *l = *at;
    c->found = l != NULL;
    if (!l)
        return;
    *at = l->next;
    link_end(l);
    free(l);
}

void netstack_link_del(struct netstack *ns, int link) {
    struct link_call c = {.link = link};
    carry(ns, &c, do_link_del);
}

static void do_link_cut(void *arg) {
    struct link_call *c = arg;
    struct link *l = link_kept(c);
    if (l)
        c->received = mux_cut(l->mux);
}

int netstack_link_cut(struct netstack *ns, int link, uint64_t *received, struct fault *f) {
    struct link_call c = {.link = link, .f = f};
    carry(ns, &c, do_link_cut);
    if (c.result == 0)
        *received = c.received;
    return c.result;
}

static void do_link_resume(void *arg) {
    struct link_call *c = arg;
    struct link *l = link_kept(c);
    if (!l)
        return;
    if (c->set == &l->set->ns->filing)
        mux_wide(c->fd);
    c->result = mux_resume(l->mux, c->fd, c->received, c->f);
    c->fd = -1;
}

int netstack_link_resume(struct netstack *ns, int link, int fd, uint64_t received,
                         struct fault *f) {
    struct link_call c = {.link = link, .fd = fd, .received = received, .f = f};
    carry(ns, &c, do_link_resume);
    if (c.fd >= 0)
        close(c.fd);
    return c.result;
}

/* --- the primary, and which loop has the files ---------------------------------------------------------------------------- */

void links_have_files(struct links *s) {
    s->files = true;
    files_by(s, s->primary);
}

static void leave(void *arg) {
    struct links *s = arg;
    filesystem_leave(s->ns->files);
    s->files = false;
}

static void come(void *arg) {
    struct links *s = arg;
    filesystem_join(s->ns->files, s->loop);
    links_have_files(s);
}

static void do_link_primary(void *arg) {
    struct link_call *c = arg;
    struct link *l = link_alive(c);
    if (!l)
        return;
    l->target = c->target;
    c->set->primary = l;
    c->files_here = c->set->files;
    if (c->files || c->set == &l->set->ns->filing)
        files_by(c->set, l);
}

int netstack_link_primary(struct netstack *ns, int link, uint32_t target, bool files,
                          struct fault *f) {
    struct link_call c = {.link = link, .target = target, .files = files, .f = f};
    carry(ns, &c, do_link_primary);
    bool by_this = c.result == 0 && (files || c.set == &ns->filing);
    if (!by_this || c.files_here || !ns->files)
        return c.result;
    struct links *from = c.set == &ns->filing ? &ns->links : &ns->filing;
    loop_call(from->loop, leave, from);
    loop_call(c.set->loop, come, c.set);
    return 0;
}

/* --- the files' own loop -------------------------------------------------------------------------------------------------- */

static void *run_filing(void *arg) {
    struct netstack *ns = arg;
    struct fault f;
    if (loop_run(ns->filing.loop, &f) < 0)
        event_failed(ns, f.text);
    return NULL;
}

static void do_filing(void *arg) {
    struct link_call *c = arg;
    struct links *s = c->set;
    if (s->loop)
        return;
    struct loop *l = loop_new(c->f);
    c->result = l ? 0 : -1;
    if (!l)
        return;
    loop_give_way(l);
    *s = (struct links){.ns = s->ns, .loop = l};
    int err = thread_start(&s->ns->filing_thread, STACK, false, run_filing, s->ns);
    if (!err)
        return;
    c->result = fault_set(c->f, err, "start the thread that carries files");
    s->loop = NULL;
    loop_free(l);
}

int netstack_files_link_add(struct netstack *ns, int fd, bool keeps, struct fault *f) {
    struct link_call c = {.set = &ns->filing, .fd = fd, .keeps = keeps, .f = f};
    ns->filing.ns = ns;
    loop_call(ns->loop, do_filing, &c);
    if (c.result < 0) {
        close(fd);
        return -1;
    }
    loop_call(ns->filing.loop, do_link_add, &c);
    return c.link;
}

/* --- the end ---------------------------------------------------------------------------------------------------------------- */

void links_clear(struct links *s) {
    while (s->all) {
        struct link_call c = {.set = s, .link = s->all->id};
        do_link_del(&c);
    }
    if (s->files)
        filesystem_detach(s->ns->files);
    s->files = false;
}

static void do_clear(void *arg) {
    links_clear(arg);
}

void links_stop_filing(struct netstack *ns) {
    if (!ns->filing.loop)
        return;
    loop_stop(ns->filing.loop);
    pthread_join(ns->filing_thread, NULL);
    loop_call(ns->filing.loop, do_clear, &ns->filing);
}
