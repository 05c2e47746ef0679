/* See want.h. */
#include "agent/gate/want.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool read_small(struct span *s, uint64_t most, uint64_t *v) {
    return span_mp_uint(s, v) && (*v <= most || span_fail(s));
}

static bool read_session(struct span *s, struct want_session *x) {
    uint32_t n;
    uint64_t gone, after, flags;
    if (!span_mp_array(s, &n) || n < 5 || !span_mp_uint(s, &x->number) ||
        !span_mp_uint(s, &x->since) || !read_small(s, WANT_GONE_RESET, &gone) ||
        !read_small(s, UINT32_MAX, &after) || !read_small(s, UINT8_MAX, &flags))
        return false;
    x->on_app_gone = (uint8_t)gone;
    x->link_lost_after = (uint32_t)after;
    x->flags = (uint8_t)flags;
    for (uint32_t i = 5; i < n; i++) /* a younger agent's fields */
        if (!span_mp_skip(s))
            return false;
    return true;
}

static const struct want_session *session_of(const struct want *w, uint64_t number) {
    for (uint32_t i = 0; i < w->sessions; i++)
        if (w->session[i].number == number)
            return &w->session[i];
    return NULL;
}

/* A filter that is refused says why itself. */
static bool read_filter(struct span *s, struct want_rule *r, struct fault *f) {
    r->whole = span_left(s) && *s->at == 0xc0; /* nil */
    if (r->whole && !span_mp_skip(s))
        return false;
    r->filter = r->whole ? http_filter_everything(f) : http_filter_read(s, f);
    return r->filter != NULL;
}

static bool read_rule(struct span *s, const struct want *w, struct want_rule *r, struct fault *f) {
    uint32_t n;
    uint64_t session, target, port, app;
    if (!span_mp_array(s, &n) || n != 5 || !span_mp_uint(s, &session) ||
        !read_small(s, UINT32_MAX, &target) || !read_small(s, UINT16_MAX, &port) ||
        !read_small(s, UINT16_MAX, &app))
        return false;
    r->session = session_of(w, session);
    r->target = (uint32_t)target;
    r->port = (uint16_t)port;
    r->app_port = (uint16_t)app;
    if (!r->session || !port || !app)
        return span_fail(s);
    return read_filter(s, r, f);
}

static bool read_node(struct span *s, struct addr *a) {
    const uint8_t *p;
    uint32_t n;
    if (!span_mp_bin(s, &p, &n) || (n != 4 && n != 16))
        return span_fail(s);
    *a = n == 4 ? addr_v4(p) : addr_v6(p);
    return true;
}

static bool read_probe(struct span *s, struct want_probe *p) {
    uint32_t n, length;
    uint64_t port, kind;
    const char *path;
    if (!span_mp_array(s, &n) || n != 3 || !read_small(s, UINT16_MAX, &port) ||
        !read_small(s, WANT_PROBE_GRPC, &kind) || !span_mp_str(s, &path, &length))
        return false;
    p->port = (uint16_t)port;
    p->kind = (uint8_t)kind;
    if (length >= sizeof p->path)
        return span_fail(s);
    memcpy(p->path, path, length);
    return true;
}

/* The number of a list's elements, within its bound. */
static bool read_count(struct span *s, uint32_t most, uint32_t *n) {
    uint32_t count;
    if (!span_mp_array(s, &count) || count > most)
        return span_fail(s);
    *n = count;
    return true;
}

static int by_age(const void *a, const void *b) {
    const struct want_session *x = a, *y = b;
    if (x->since != y->since)
        return x->since < y->since ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int by_session(const void *a, const void *b) {
    const struct want_rule *x = a, *y = b;
    return x->session < y->session ? -1 : x->session > y->session;
}

static bool read_sessions(struct span *s, struct want *w) {
    if (!read_count(s, WANT_SESSIONS, &w->sessions))
        return false;
    for (uint32_t i = 0; i < w->sessions; i++)
        if (!read_session(s, &w->session[i]))
            return false;
    qsort(w->session, w->sessions, sizeof *w->session, by_age);
    return true;
}

static bool read_rules(struct span *s, struct want *w, struct fault *f) {
    uint32_t count = 0;
    if (!read_count(s, WANT_RULES, &count))
        return false;
    for (; w->rules < count; w->rules++)
        if (!read_rule(s, w, &w->rule[w->rules], f))
            return false;
    qsort(w->rule, w->rules, sizeof *w->rule, by_session);
    return true;
}

static bool read_who_probes(struct span *s, struct want *w) {
    if (!read_count(s, WANT_NODES, &w->nodes))
        return false;
    for (uint32_t i = 0; i < w->nodes; i++)
        if (!read_node(s, &w->node[i]))
            return false;
    if (!read_count(s, WANT_PROBES, &w->probes))
        return false;
    w->probe = calloc(w->probes ? w->probes : 1, sizeof *w->probe);
    for (uint32_t i = 0; w->probe && i < w->probes; i++)
        if (!read_probe(s, &w->probe[i]))
            return false;
    return w->probe != NULL;
}

/* Last, and may be left out. */
static bool read_meshes(struct span *s, struct want *w) {
    if (span_left(s) == 0)
        return true;
    if (!read_count(s, WANT_MESHES, &w->meshes))
        return false;
    for (uint32_t i = 0; i < w->meshes; i++) {
        uint64_t uid;
        if (!read_small(s, UINT32_MAX - 1, &uid))
            return false;
        w->mesh[i] = (uint32_t)uid;
    }
    return true;
}

struct want *want_nothing(void) {
    return calloc(1, sizeof(struct want));
}

struct want *want_read(const void *p, size_t n, struct fault *f) {
    struct want *w = want_nothing();
    if (!w) {
        fault_set(f, ENOMEM, "read what is to be stolen");
        return NULL;
    }
    struct span s = span_of(p, n);
    struct fault why = {0};
    if (span_mp_uint(&s, &w->serial) && read_sessions(&s, w) && read_rules(&s, w, &why) &&
        read_who_probes(&s, w) && read_meshes(&s, w))
        return w;
    *f = why;
    if (!why.text[0])
        fault_set(f, EPROTO, "read what is to be stolen, near octet %zu of %zu", n - span_left(&s),
                  n);
    want_free(w);
    return NULL;
}

void want_free(struct want *w) {
    if (!w)
        return;
    /* The one that failed to be read has none. */
    for (uint32_t i = 0; i < w->rules; i++)
        http_filter_free(w->rule[i].filter);
    free(w->probe);
    free(w);
}

bool want_is_node(const struct want *w, const struct addr *a) {
    for (uint32_t i = 0; i < w->nodes; i++)
        if (memcmp(&w->node[i], a, sizeof *a) == 0)
            return true;
    return false;
}
