/* Invariant: whatever the octets, want_read says what is wrong or gives a want within its bounds, whose rules are of its sessions and
 * in the order of their age; and probe_judge reads no octet beyond those it was given, and asks for more only while more
 * could come.
 *
 * Sources: exchange agent/gate/want.c agent/gate/probe.c native/addr.c native/span.c native/msgpack.c native/fault.c
 */
#include "agent/gate/probe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(const struct want *w) {
    if (w->sessions > WANT_SESSIONS || w->rules > WANT_RULES || w->nodes > WANT_NODES ||
        w->probes > WANT_PROBES)
        abort();
    for (uint32_t i = 0; i < w->rules; i++) {
        const struct want_rule *r = &w->rule[i];
        if (r->session < w->session || r->session >= w->session + w->sessions ||
            r->whole != (r->filter == NULL))
            abort();
        if (i > 0 && w->rule[i - 1].session > r->session)
            abort();
    }
    for (uint32_t i = 1; i < w->sessions; i++)
        if (w->session[i - 1].since > w->session[i].since)
            abort();
}

static void read_want(const uint8_t *p, size_t n) {
    struct fault f = {.text = ""};
    struct want *w = want_read(p, n, &f);
    if (w)
        check(w);
    else if (f.text[0] == '\0')
        abort();
    want_free(w);
}

/* Octets in a place of just their size, so that one more is found. */
static void judge(const uint8_t *p, size_t n) {
    struct want_probe probes[2] = {{.port = 80, .kind = WANT_PROBE_HTTP, .path = "/healthz"},
                                   {.port = 80, .kind = WANT_PROBE_GRPC}};
    struct want *w = want_nothing();
    uint8_t *own = malloc(n);
    if (!w || !own)
        abort();
    memcpy(own, p, n);
    w->probe = probes;
    w->probes = 2;
    if (probe_judge(w, 80, own, n) == PROBE_MORE && n >= PROBE_PEEK)
        abort();
    w->probe = NULL;
    free(own);
    want_free(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n < 2)
        return 0;
    if (p[0] & 1)
        read_want(p + 1, n - 1);
    else
        judge(p + 1, n - 1 < PROBE_PEEK ? n - 1 : PROBE_PEEK);
    return 0;
}
