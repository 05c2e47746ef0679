/* What of a session's mirrors its filters choose: calls, carried to the loop's thread. */
#include "agent/engine_inner.h"

#include <errno.h>

_Static_assert(sizeof(struct engine_seen) == sizeof(struct mirror_seen) &&
                   offsetof(struct engine_seen, last) == offsetof(struct mirror_seen, last),
               "what a mirror saw is handed on as it is");

static void choose(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    struct http_filter *filter = NULL;
    if (!s)
        return;
    if (c->n > 0) {
        struct span filters = span_of(c->octets, c->n);
        filter = http_filter_read(&filters, c->fault);
        if (!filter) {
            c->fault->err = EINVAL;
            c->result = -1;
            return;
        }
    }
    for (struct place *p = s->places; p; p = p->next)
        place_mirror_end(s, p); /* their connections refer to the one there was */
    http_filter_free(s->filter);
    s->filter = filter;
}

int engine_session_choose(struct engine *e, uint32_t session, const uint8_t *filters, size_t n,
                          struct fault *f) {
    struct call c = {.engine = e, .session = session, .octets = filters, .n = n, .fault = f};
    loop_call(e->loop, choose, &c);
    return (int)c.result;
}

static void seen(void *arg) {
    struct call *c = arg;
    struct session *s = session_of(c);
    const struct place *p = s ? place_find(s, c->target) : NULL;
    if (p && p->mirror)
        c->result = (int64_t)mirror_seen_get(p->mirror, (struct mirror_seen *)c->seen, c->n);
}

int engine_seen(struct engine *e, uint32_t session, uint32_t target, struct engine_seen *out,
                size_t capacity, struct fault *f) {
    struct call c = {
        .engine = e, .session = session, .target = target, .seen = out, .n = capacity, .fault = f};
    loop_call(e->loop, seen, &c);
    return (int)c.result;
}
