/* See control.h. */
#include "agent/gate/control.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { WANT = 1, DRAIN = 2, READY = 16, APPLIED = 17, FAILED = 18, COUNTS = 19, DRAINED = 20 };
enum { REPLY = 1024 };

static bool take(struct control *c, struct span *s) {
    uint32_t count;
    uint64_t tag, seconds;
    if (!span_mp_array(s, &count) || count == 0 || !span_mp_uint(s, &tag))
        return false;
    if (tag == DRAIN && count >= 2 && span_mp_uint(s, &seconds)) {
        c->drain(c, seconds);
        return true;
    }
    if (tag != WANT || count < 6)
        return false;
    struct fault f = {0};
    struct want *w = want_read(s->at, span_left(s), &f);
    if (w)
        c->want(c, w);
    else
        c->refused(c, &f);
    return true;
}

static void lose(struct control *c) {
    loop_del(c->loop, &c->io);
    c->gone(c);
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct control *c = container_of(self, struct control, io);
    (void)events;
    ssize_t n = recv(c->io.fd, c->packet, sizeof c->packet, MSG_DONTWAIT | MSG_TRUNC);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || (size_t)n > sizeof c->packet) {
        lose(c);
        return;
    }
    struct span s = span_of(c->packet, (size_t)n);
    if (!take(c, &s))
        lose(c);
}

int control_open(struct control *c, struct loop *loop, int fd, struct fault *f) {
    c->loop = loop;
    c->io = (struct loop_fd){.fd = fd, .ready = ready};
    return loop_add(loop, &c->io, EPOLLIN, f);
}

void control_close(struct control *c) {
    if (c->io.serial)
        loop_del(c->loop, &c->io);
}

static bool send_words(int fd, const struct pen *w, const uint8_t *packet, int flags) {
    CHECK(!w->over);
    return send(fd, packet, (size_t)(w->at - packet), MSG_NOSIGNAL | flags) >= 0;
}

/* One number: waited for, because the agent waits for it too; it is there to read a few octets, or it is gone. */
static void say(int fd, uint64_t tag, uint64_t value) {
    uint8_t packet[REPLY];
    struct pen w = pen_on(packet, sizeof packet);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, tag);
    pen_mp_uint(&w, value);
    send_words(fd, &w, packet, 0);
}

void control_ready(struct control *c) {
    say(c->io.fd, READY, 0);
}

void control_applied(struct control *c, uint64_t serial) {
    say(c->io.fd, APPLIED, serial);
}

void control_drained(struct control *c, uint64_t reset) {
    say(c->io.fd, DRAINED, reset);
}

void control_failed(int fd, const struct fault *f) {
    uint8_t packet[REPLY];
    struct pen w = pen_on(packet, sizeof packet);
    pen_mp_array(&w, 3);
    pen_mp_uint(&w, FAILED);
    pen_mp_uint(&w, (uint64_t)f->err);
    pen_mp_str(&w, f->text);
    send_words(fd, &w, packet, 0);
}

bool control_counts(struct control *c, const struct control_counts *n) {
    uint8_t packet[REPLY];
    struct pen w = pen_on(packet, sizeof packet);
    pen_mp_array(&w, 9);
    pen_mp_uint(&w, COUNTS);
    pen_mp_uint(&w, n->session);
    pen_mp_uint(&w, n->port);
    pen_mp_uint(&w, n->seen);
    pen_mp_uint(&w, n->matched);
    pen_mp_uint(&w, n->stolen);
    pen_mp_uint(&w, n->older);
    pen_mp_uint(&w, n->tls);
    pen_mp_str(&w, n->line);
    return c->io.serial && send_words(c->io.fd, &w, packet, MSG_DONTWAIT);
}
