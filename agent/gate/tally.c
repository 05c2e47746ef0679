/* See tally.h. */
#include "agent/gate/tally.h"

#include <errno.h>
#include <stdlib.h>

#define SECOND (1000ull * 1000 * 1000)

void tallies_tell(struct tallies *t) {
    for (uint32_t i = 0; i < t->count; i++)
        if (t->all[i].changed)
            t->all[i].changed = !control_counts(t->control, &t->all[i].counts);
}

static void fire(struct timer *timer) {
    tallies_tell(container_of(timer, struct tallies, timer));
}

int tallies_open(struct tallies *t, struct loop *loop, struct control *control, struct fault *f) {
    t->loop = loop;
    t->control = control;
    t->timer = (struct timer){.fire = fire};
    t->all = calloc(TALLIES + 1,
                    sizeof *t->all); /* 400 KiB of zeros, of which the kernel gives what is used */
    return t->all ? 0 : fault_set(f, ENOMEM, "count connections");
}

void tallies_close(struct tallies *t) {
    if (t->loop)
        timer_cancel(t->loop, &t->timer);
    free(t->all);
    t->all = NULL;
}

static struct tally *find(struct tallies *t, uint64_t session, uint16_t port) {
    for (uint32_t i = 0; i < t->count; i++)
        if (t->all[i].counts.session == session && t->all[i].counts.port == port)
            return &t->all[i];
    struct tally *new = &t->all[t->count];
    if (t->count < TALLIES)
        t->count++;
    *new = (struct tally){.counts = {.session = session, .port = port}};
    return new;
}

struct control_counts *tally_of(struct tallies *t, uint64_t session, uint16_t port) {
    struct tally *found = find(t, session, port);
    found->changed = true;
    if (!t->timer.place)
        timer_set(t->loop, &t->timer, loop_now(t->loop) + SECOND);
    return &found->counts;
}

static bool is_wanted(const struct want *w, uint64_t session) {
    for (uint32_t i = 0; i < w->sessions; i++)
        if (w->session[i].number == session)
            return true;
    return false;
}

void tallies_keep(struct tallies *t, const struct want *w) {
    uint32_t kept = 0;
    tallies_tell(t);
    for (uint32_t i = 0; i < t->count; i++)
        if (is_wanted(w, t->all[i].counts.session))
            t->all[kept++] = t->all[i];
    t->count = kept;
}
