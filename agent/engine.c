#include "agent/engine.h"

#include "agent/engine_inner.h"
#include "agent/netns.h"
#include "native/sockdiag.h"

#include <errno.h>
#include <linux/netlink.h>
#include <malloc.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUTBOX_LIMIT  (256 * 1024)
#define LISTENERS_MAX 4096
#define LINKS_BESIDE  0x40000000 /* an engine's that is beside another begin after this */
enum { TELLS_LINK_GONE = 1, TELLS_LINK_CUT = 2 };

/* --- sessions and their places ------------------------------------------------------------------------------------- */

struct session *session_find(const struct engine *e, uint32_t number) {
    for (struct session *s = e->sessions; s; s = s->next)
        if (s->number == number)
            return s;
    return NULL;
}

struct place *place_find(const struct session *s, uint32_t index) {
    for (struct place *p = s->places; p; p = p->next)
        if (p->index == index)
            return p;
    return NULL;
}

static void counters_add(struct mirror_counters *sum, const struct mirror *m) {
    struct mirror_counters c;
    mirror_counters_get(m, &c);
    sum->connections += c.connections;
    sum->bytes += c.bytes;
    sum->datagrams += c.datagrams;
    sum->joined += c.joined;
    sum->skipped += c.skipped;
    sum->dropped += c.dropped;
    sum->limited += c.limited;
    sum->lost_packets += c.lost_packets;
}

void place_mirror_end(struct session *s, struct place *p) {
    if (!p->mirror)
        return;
    counters_add(&s->past, p->mirror);
    mirror_free(p->mirror);
    p->mirror = NULL;
}

/* ENETDOWN: the app sees a reset; the target it had spoken from is no more. */
static void place_free(struct session *s, struct place *p) {
    place_mirror_end(s, p);
    place_files_end(s->engine, p);
    target_fini(&p->target, ENETDOWN);
    free(p);
}

static void session_unlink(struct session *s) {
    for (struct place *p = s->places; p; p = p->next)
        place_mirror_end(s, p);
    if (!s->mux)
        return;
    mux_free(s->mux);
    s->mux = NULL;
    s->cut = false;
    gates_session(s);
}

static void session_free(struct session *s) {
    session_unlink(s);
    while (s->places) {
        struct place *p = s->places;
        s->places = p->next;
        place_free(s, p);
    }
    shaper_fini(&s->out.up);
    shaper_fini(&s->out.down);
    http_filter_free(s->filter);
    free(s);
}

/* --- the link ------------------------------------------------------------------------------------------------------ */

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    struct session *s = owner;
    struct place *p = place_find(s, o->target);
    if (!p) {
        *err = ENETDOWN; /* the target is away: being restarted, say */
        return NULL;
    }
    if (s->most != 0 && mux_channels(s->mux) >= s->most) {
        *err = EMFILE;
        return NULL;
    }
    if (o->kind == CHANNEL_FILES || o->kind == CHANNEL_UNIX)
        return place_files_open(s, p, o, err);
    if (s->engine->beside) {
        *err = EPROTONOSUPPORT;
        return NULL;
    }
    return dial_open(&p->target, o, err);
}

static void tell(const struct session *s, unsigned what, const struct fault *why) {
    uint8_t message[OUTBOX_MESSAGE];
    struct pen w = pen_on(message, sizeof message);
    pen_mp_array(&w, 4);
    pen_mp_uint(&w, what);
    pen_mp_uint(&w, s->number);
    pen_mp_uint(&w, s->link);
    pen_mp_str(&w, why->text);
    outbox_post(s->engine->outbox, message, (size_t)(w.at - message));
}

static void on_gone(void *owner, const struct fault *why) {
    tell(owner, TELLS_LINK_GONE, why);
    session_unlink(owner);
}

static void on_cut(void *owner, const struct fault *why) {
    struct session *s = owner;
    s->cut = true;
    gates_session(s);
    tell(s, TELLS_LINK_CUT, why);
}

static const struct mux_ops mux_ops = {.open = on_open, .gone = on_gone, .cut = on_cut};

/* --- the engine ---------------------------------------------------------------------------------------------------- */

static void outbox_let_go(struct engine *e) {
    if (!e->beside)
        outbox_free(e->outbox);
}

struct engine *engine_new(struct engine *beside, struct fault *f) {
    struct engine *e = calloc(1, sizeof *e);
    if (!e) {
        fault_set(f, ENOMEM, "an engine");
        return NULL;
    }
    e->desk.home = -1;
    e->loop = e->desk.loop = loop_new(f);
    if (!e->loop)
        goto no_loop;
    e->beside = beside != NULL;
    e->outbox = beside ? beside->outbox : outbox_new(OUTBOX_LIMIT, f);
    if (!e->outbox)
        goto no_outbox;
    if (beside) {
        loop_give_way(e->loop);
        e->last_link = LINKS_BESIDE;
    }
    e->desk.home = netns_home("net", f);
    if (e->desk.home < 0)
        goto no_home;
    e->desk.scratch = malloc(DIAL_SCRATCH);
    if (!e->desk.scratch) {
        fault_set(f, ENOMEM, "a buffer of %d octets", DIAL_SCRATCH);
        goto no_scratch;
    }
    e->files = files_desk_new(e->loop, f);
    if (e->files)
        return e;
    free(e->desk.scratch);
no_scratch:
    close(e->desk.home);
no_home:
    outbox_let_go(e);
no_outbox:
    loop_free(e->loop);
no_loop:
    free(e);
    return NULL;
}

int engine_run(struct engine *e, struct fault *f) {
    return loop_run(e->loop, f);
}

void engine_stop(struct engine *e) {
    loop_stop(e->loop);
}

void engine_free(struct engine *e) {
    gates_free(e);
    while (e->sessions) {
        struct session *s = e->sessions;
        e->sessions = s->next;
        session_free(s);
    }
    files_desk_free(e->files);
    chunk_pool_free(&e->desk.pool);
    free(e->desk.scratch);
    close(e->desk.home);
    outbox_let_go(e);
    loop_free(e->loop);
    free(e);
}

int engine_outbox_fd(const struct engine *e) {
    return outbox_fd(e->outbox);
}

size_t engine_outbox_pull(struct engine *e, void *buf, size_t capacity) {
    return outbox_pull(e->outbox, buf, capacity);
}

/* --- calls: each is carried to the loop's thread ------------------------------------------------------------------- */

struct session *session_of(struct call *c) {
    struct session *s = session_find(c->engine, c->session);
    if (!s)
        c->result = fault_set(c->fault, ESRCH, "the session has ended");
    return s;
}

static void session_add(void *arg) {
    struct call *c = arg;
    struct session *s = calloc(1, sizeof *s);
    if (!s) {
        c->result = fault_set(c->fault, ENOMEM, "a session");
        return;
    }
    s->engine = c->engine;
    s->number = c->session;
    s->out.reach = (struct reach){.outgoing = true, .metadata = true};
    shaper_init(&s->out.up, c->engine->loop);
    shaper_init(&s->out.down, c->engine->loop);
    mirror_rate_init(&s->rate);
    s->next = c->engine->sessions;
    c->engine->sessions = s;
}

int engine_session_add(struct engine *e, uint32_t session, struct fault *f) {
    struct call c = {.engine = e, .session = session, .fault = f};
    loop_call(e->loop, session_add, &c);
    return (int)c.result;
}

static void session_del(void *arg) {
    struct call *c = arg;
    for (struct session **at = &c->engine->sessions; *at; at = &(*at)->next)
        if ((*at)->number == c->session) {
            struct session *s = *at;
            *at = s->next;
            session_free(s);
            return;
        }
}

void engine_session_del(struct engine *e, uint32_t session) {
    struct call c = {.engine = e, .session = session};
    loop_call(e->loop, session_del, &c);
}

static void rest(void *arg) {
    struct call *c = arg;
    if (c->engine->sessions)
        return;
    chunk_pool_free(&c->engine->desk.pool);
    malloc_trim(0); /* by itself it gives back only what lies at an arena's very end */
}

void engine_rest(struct engine *e) {
    struct call c = {.engine = e};
    loop_call(e->loop, rest, &c);
}

static void session_limits(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s)
        return;
    s->out.reach = (struct reach){.outgoing = c->limits->outgoing, .metadata = c->limits->metadata};
    shaper_set(&s->out.up, c->limits->outgoing_rate);
    shaper_set(&s->out.down, c->limits->outgoing_rate);
    mirror_rate_set(&s->rate, c->limits->mirror_rate, loop_now(c->engine->loop));
    s->most = c->limits->connections;
}

int engine_session_limits(struct engine *e, uint32_t session, const struct engine_limits *limits,
                          struct fault *f) {
    struct call c = {.engine = e, .session = session, .limits = limits, .fault = f};
    loop_call(e->loop, session_limits, &c);
    return (int)c.result;
}

static void link_add(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s) {
        close(c->fd);
        return;
    }
    session_unlink(s);
    c->result = -1;
    if (c->engine->beside)
        mux_wide(c->fd);
    s->mux = mux_new(c->engine->loop, c->fd, false, &mux_ops, s, c->fault);
    if (!s->mux)
        return;
    if (c->keeps && mux_keep(s->mux, c->fault) < 0) {
        session_unlink(s);
        return;
    }
    s->keeps = c->keeps;
    s->link = ++c->engine->last_link;
    c->result = s->link;
    gates_session(s);
}

int64_t engine_link_add(struct engine *e, uint32_t session, int fd, bool keeps, struct fault *f) {
    struct call c = {.engine = e, .session = session, .fd = fd, .keeps = keeps, .fault = f};
    loop_call(e->loop, link_add, &c);
    return c.result;
}

static void link_del(void *arg) {
    struct call *c = arg;
    struct session *s = session_find(c->engine, c->session);
    if (s)
        session_unlink(s);
}

void engine_link_del(struct engine *e, uint32_t session) {
    struct call c = {.engine = e, .session = session};
    loop_call(e->loop, link_del, &c);
}

static struct session *kept_of(struct call *c) {
    struct session *s = session_of(c);
    if (s && s->mux && s->keeps)
        return s;
    if (s)
        c->result = fault_set(c->fault, ENOTCONN, "the session has no data link that keeps");
    return NULL;
}

static void link_cut(void *arg) {
    struct call *c = arg;
    struct session *s = kept_of(c);
    if (!s)
        return;
    c->received = mux_cut(s->mux);
    c->result = s->link;
    s->cut = true;
    gates_session(s);
}

int64_t engine_link_cut(struct engine *e, uint32_t session, uint64_t *received, struct fault *f) {
    struct call c = {.engine = e, .session = session, .fault = f};
    loop_call(e->loop, link_cut, &c);
    if (c.result >= 0)
        *received = c.received;
    return c.result;
}

static void link_resume(void *arg) {
    struct call *c = arg;
    struct session *s = kept_of(c);
    if (!s) {
        close(c->fd);
        return;
    }
    if (c->engine->beside)
        mux_wide(c->fd);
    c->result = mux_resume(s->mux, c->fd, c->received, c->fault);
    s->cut = c->result != 0;
    gates_session(s);
}

int engine_link_resume(struct engine *e, uint32_t session, int fd, uint64_t received,
                       struct fault *f) {
    struct call c = {.engine = e, .session = session, .fd = fd, .received = received, .fault = f};
    loop_call(e->loop, link_resume, &c);
    return (int)c.result;
}

static void place_remove(struct session *s, uint32_t index) {
    for (struct place **at = &s->places; *at; at = &(*at)->next)
        if ((*at)->index == index) {
            struct place *p = *at;
            *at = p->next;
            place_free(s, p);
            return;
        }
}

static void target_set(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s)
        return;
    struct place *p = calloc(1, sizeof *p);
    if (!p) {
        c->result = fault_set(c->fault, ENOMEM, "a target");
        return;
    }
    if (target_init(&p->target, &c->engine->desk, c->fd, &s->out, c->fault) < 0) {
        free(p);
        c->result = -1;
        return;
    }
    place_remove(s, c->target);
    p->index = c->target;
    p->files.pidfd = -1;
    p->next = s->places;
    s->places = p;
}

int engine_target_set(struct engine *e, uint32_t session, uint32_t target, int netns,
                      struct fault *f) {
    struct call c = {.engine = e, .session = session, .target = target, .fd = netns, .fault = f};
    loop_call(e->loop, target_set, &c);
    return (int)c.result;
}

static void target_del(void *arg) {
    struct call *c = arg;
    struct session *s = session_find(c->engine, c->session);
    if (s)
        place_remove(s, c->target);
}

void engine_target_del(struct engine *e, uint32_t session, uint32_t target) {
    struct call c = {.engine = e, .session = session, .target = target};
    loop_call(e->loop, target_del, &c);
}

/* --- mirroring ----------------------------------------------------------------------------------------------------- */

static int open_diag(void *arg, struct fault *f) {
    (void)arg;
    /*privileged CAP_NET_ADMIN: sockets of other users' are shown by sock_diag(7) only to the namespace's administrator. */
    return sockdiag_open(f);
}

static int mirror_begin(struct session *s, struct place *p, struct fault *f) {
    int home = s->engine->desk.home;
    int diag = netns_within(home, p->target.netns, open_diag, NULL, f);
    if (diag < 0)
        return -1;
    /* Protocol 0: it receives nothing until mirror.c has set its filter and ring and binds it. */
    int packet = netns_socket(home, p->target.netns, AF_PACKET, SOCK_DGRAM, 0, f);
    if (packet < 0) {
        close(diag);
        return -1;
    }
    p->mirror =
        mirror_new(s->engine->loop, s->mux, p->index, packet, diag, dial_owns, &p->target, f);
    if (!p->mirror)
        return -1;
    mirror_limit(p->mirror, &s->rate, &s->most);
    mirror_choose(p->mirror, s->filter);
    /* For connections that are over before they can be looked up; a kernel without netfilter redirects nothing. */
    int conntrack =
        netns_socket(home, p->target.netns, AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER, NULL);
    if (conntrack >= 0)
        mirror_conntrack(p->mirror, conntrack);
    return 0;
}

static int mirror_apply(struct place *p, const struct call *c) {
    mirror_ports(p->mirror, (const struct mirror_port *)c->ports, c->n);
    const struct fault *why = mirror_fault(p->mirror);
    return why ? fault_set(c->fault, why->err, "%s", why->text) : 0;
}

static void mirror_set(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s)
        return;
    struct place *p = place_find(s, c->target);
    if (!p || !s->mux)
        c->result = fault_set(c->fault, ESRCH,
                              p ? "the session has no data link" : "there is no such target");
    else if (c->n && !p->mirror && mirror_begin(s, p, c->fault) < 0)
        c->result = -1;
    else if (p->mirror)
        c->result = mirror_apply(p, c);
}

_Static_assert(sizeof(struct engine_port) == sizeof(struct mirror_port) &&
                   offsetof(struct engine_port, app_port) == offsetof(struct mirror_port, app_port),
               "Python's ports are handed on as they are");

int engine_mirror_ports(struct engine *e, uint32_t session, uint32_t target,
                        const struct engine_port *ports, size_t n, struct fault *f) {
    struct call c = {
        .engine = e, .session = session, .target = target, .ports = ports, .n = n, .fault = f};
    loop_call(e->loop, mirror_set, &c);
    return (int)c.result;
}

static void counters_get(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    if (!s)
        return;
    struct mirror_counters sum = s->past;
    for (const struct place *p = s->places; p; p = p->next)
        if (p->mirror)
            counters_add(&sum, p->mirror);
    *c->counters = (struct engine_counters){
        .connections = sum.connections,
        .bytes = sum.bytes,
        .datagrams = sum.datagrams,
        .joined = sum.joined,
        .skipped = sum.skipped,
        .dropped = sum.dropped,
        .limited = sum.limited,
        .lost_packets = sum.lost_packets,
        .stolen = s->stolen.connections,
        .stolen_bytes = s->stolen.octets,
        .stolen_open = s->stolen.open,
        .opened = s->out.opened,
        .sent = s->out.sent,
        .received = s->out.received,
        .slowed = s->out.up.dropped + s->out.down.dropped,
        .files_read = s->files.read,
        .files_written = s->files.written,
        .datagrams_dropped = s->mux ? mux_datagrams_dropped(s->mux) : 0,
        .channels = s->mux ? mux_channels(s->mux) : 0,
    };
}

int engine_counters(struct engine *e, uint32_t session, struct engine_counters *out,
                    struct fault *f) {
    struct call c = {.engine = e, .session = session, .counters = out, .fault = f};
    loop_call(e->loop, counters_get, &c);
    return (int)c.result;
}

int engine_diag_open(int netns, struct fault *f) {
    int home = netns_home("net", f);
    if (home < 0)
        return -1;
    int fd = netns_within(home, netns, open_diag, NULL, f);
    close(home);
    return fd;
}

int engine_listening(int diag, struct engine_listener *out, size_t capacity, struct fault *f) {
    struct sockdiag_port *ports = calloc(LISTENERS_MAX, sizeof *ports);
    if (!ports)
        return fault_set(f, ENOMEM, "a list of listening sockets");
    int n = sockdiag_listening(diag, ports, capacity < LISTENERS_MAX ? capacity : LISTENERS_MAX, f);
    for (int i = 0; i < n; i++)
        out[i] = (struct engine_listener){ports[i].proto, ports[i].loopback, ports[i].port};
    free(ports);
    return n;
}
