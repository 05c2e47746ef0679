/* See events.h. */
#include "layer/netstack/events.h"
#include "layer/netstack/engine.h"

static struct pen begin(uint8_t *room, const char *name, uint32_t more) {
    struct pen w = pen_on(room, OUTBOX_MESSAGE);
    pen_mp_array(&w, more + 1);
    pen_mp_str(&w, name);
    return w;
}

static void post(struct netstack *ns, const struct pen *w, const uint8_t *room) {
    CHECK(!w->over);
    outbox_post(ns->outbox, room, (size_t)(w->at - room));
}

void event_listening(struct netstack *ns, const struct sockdiag_port *ports, size_t count) {
    uint8_t room[OUTBOX_MESSAGE];
    CHECK(count <= LISTENERS_MAX);
    struct pen w = begin(room, "listening", 1);
    pen_mp_array(&w, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        pen_mp_array(&w, 4);
        pen_mp_uint(&w, ports[i].proto);
        pen_mp_uint(&w, ports[i].port);
        pen_mp_bool(&w, ports[i].loopback);
        pen_mp_uint(&w, ports[i].family);
    }
    post(ns, &w, room);
}

void event_self(struct netstack *ns, uint16_t port) {
    uint8_t room[OUTBOX_MESSAGE];
    struct pen w = begin(room, "self", 1);
    pen_mp_uint(&w, port);
    post(ns, &w, room);
}

void event_refused(struct netstack *ns, int err, const struct endpoint *to) {
    uint8_t room[OUTBOX_MESSAGE];
    struct pen w = begin(room, "refused", 3);
    pen_mp_uint(&w, (uint64_t)err);
    pen_mp_bin(&w, to->addr.ip, to->addr.family == 4 ? 4 : 16);
    pen_mp_uint(&w, to->port);
    post(ns, &w, room);
}

static void of_link(struct netstack *ns, const char *name, int link, const char *reason) {
    uint8_t room[OUTBOX_MESSAGE];
    struct pen w = begin(room, name, 2);
    pen_mp_uint(&w, (uint64_t)link);
    pen_mp_str(&w, reason);
    post(ns, &w, room);
}

void event_link_gone(struct netstack *ns, int link, const char *reason) {
    of_link(ns, "link-gone", link, reason);
}

void event_link_cut(struct netstack *ns, int link, const char *reason) {
    of_link(ns, "link-cut", link, reason);
}

static void say(struct netstack *ns, const char *name, const char *what) {
    uint8_t room[OUTBOX_MESSAGE];
    struct pen w = begin(room, name, 1);
    pen_mp_str(&w, what);
    post(ns, &w, room);
}

void event_failed(struct netstack *ns, const char *what) {
    say(ns, "failed", what);
}

void event_files_refused(struct netstack *ns, const char *why) {
    say(ns, "files-refused", why);
}
