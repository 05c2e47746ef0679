/* See handover.h. */
#include "agent/gate/handover.h"

#include "native/span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OFFER = 1, ABORT = 2, ACCEPTED = 16, REFUSED = 17, RESET = 18, LINK = 19, ENDED = 20 };
enum { PACKET = 512, PACKETS_IN_A_ROW = 64 };

static struct handover_offer *offer_of(const struct handover *h, uint64_t number) {
    uint32_t place = (uint32_t)number;
    if (place == 0 || place >= h->count || h->places[place].generation != number >> 32)
        return NULL;
    return h->places[place].offer;
}

static bool grow(struct handover *h) {
    uint32_t count = h->count ? h->count * 2 : 64;
    struct handover_place *places = realloc(h->places, count * sizeof *places);
    if (!places)
        return false;
    for (uint32_t i = h->count; i < count; i++)
        places[i] = (struct handover_place){.next_free = i + 1 < count ? i + 1 : 0};
    h->free = h->count ? h->count : 1;
    h->places = places;
    h->count = count;
    return true;
}

static bool number_it(struct handover *h, struct handover_offer *o) {
    if (!h->free && !grow(h))
        return false;
    uint32_t place = h->free;
    h->free = h->places[place].next_free;
    h->places[place].offer = o;
    o->number = (uint64_t)h->places[place].generation << 32 | place;
    return true;
}

static void forget(struct handover *h, struct handover_offer *o) {
    uint32_t place = (uint32_t)o->number;
    if (!place)
        return;
    h->places[place].offer = NULL;
    h->places[place].generation++;
    h->places[place].next_free = h->free;
    h->free = place;
    o->number = 0;
}

/* --- to the engine -------------------------------------------------------------------------------------------------- */

static ssize_t send_packet(int fd, const struct pen *w, uint8_t *packet, int passed) {
    struct iovec io = {.iov_base = packet, .iov_len = (size_t)(w->at - packet)};
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
    if (passed >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        *c = (struct cmsghdr){
            .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &passed, sizeof passed);
    }
    return sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void write_addr(struct pen *w, const struct addr *a) {
    pen_mp_bin(w, a->ip, a->family == 4 ? 4 : 16);
}

static void write_offer(struct pen *w, uint64_t number, const struct handover_words *words) {
    pen_mp_array(w, 8);
    pen_mp_uint(w, OFFER);
    pen_mp_uint(w, number);
    pen_mp_uint(w, words->session);
    pen_mp_uint(w, words->target);
    write_addr(w, &words->client.addr);
    pen_mp_uint(w, words->client.port);
    write_addr(w, &words->own);
    pen_mp_uint(w, words->app_port);
}

int handover_offer(struct handover *h, struct handover_offer *o, const struct handover_words *words,
                   struct fault *f) {
    uint8_t packet[PACKET];
    int pair[2];
    if (h->io.serial == 0)
        return fault_set(f, ENOTCONN, "hand over a connection");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
        return fault_set(f, errno, "make a socket pair");
    if (!number_it(h, o)) {
        fault_set(f, ENOMEM, "hand over a connection");
        goto close_pair;
    }
    struct pen w = pen_on(packet, sizeof packet);
    write_offer(&w, o->number, words);
    CHECK(!w.over);
    if (send_packet(h->io.fd, &w, packet, pair[1]) < 0) {
        fault_set(f, errno, "hand over a connection");
        forget(h, o);
        goto close_pair;
    }
    close(pair[1]);
    return pair[0];

close_pair:
    close(pair[0]);
    close(pair[1]);
    return -1;
}

void handover_move(struct handover *h, struct handover_offer *from, struct handover_offer *to) {
    to->number = from->number;
    from->number = 0;
    if (to->number)
        h->places[(uint32_t)to->number].offer = to;
}

void handover_forget(struct handover *h, struct handover_offer *o, bool abort_it) {
    uint8_t packet[PACKET];
    if (!o->number)
        return;
    if (abort_it && h->io.serial) {
        struct pen w = pen_on(packet, sizeof packet);
        pen_mp_array(&w, 2);
        pen_mp_uint(&w, ABORT);
        pen_mp_uint(&w, o->number);
        send_packet(h->io.fd, &w, packet, -1);
    }
    forget(h, o);
}

/* --- from the engine ------------------------------------------------------------------------------------------------ */

static void answer(struct handover *h, uint64_t tag, uint64_t number, uint64_t err) {
    struct handover_offer *o = offer_of(h, number);
    if (!o)
        return; /* forgotten meanwhile: its answer was on the way */
    if (tag == ACCEPTED || tag == ENDED) {
        o->answered(o, tag == ACCEPTED ? HANDOVER_ACCEPTED : HANDOVER_ENDED, 0);
        return;
    }
    forget(h, o);
    o->answered(o, tag == REFUSED ? HANDOVER_REFUSED : HANDOVER_RESET, (int)err);
}

/* False: not of these messages. */
static bool take(struct handover *h, struct span *s) {
    uint32_t count;
    uint64_t tag, number, value = 0;
    if (!span_mp_array(s, &count) || count < 2 || !span_mp_uint(s, &tag) ||
        !span_mp_uint(s, &number))
        return false;
    if (tag == LINK) {
        bool up;
        if (count < 3 || !span_mp_bool(s, &up))
            return false;
        h->link(h, number, up);
        return true;
    }
    if (tag < ACCEPTED || tag > ENDED ||
        (tag != ACCEPTED && tag != ENDED && (count < 3 || !span_mp_uint(s, &value))))
        return false;
    answer(h, tag, number, value);
    return true;
}

/* Without an engine nobody has what was handed over. */
static void lose(struct handover *h) {
    loop_del(h->loop, &h->io);
    for (uint32_t i = 1; i < h->count; i++) {
        struct handover_offer *o = h->places[i].offer;
        if (!o)
            continue;
        forget(h, o);
        o->answered(o, HANDOVER_RESET, ECONNRESET);
    }
    h->gone(h);
}

static void ready(struct loop_fd *self, uint32_t events) {
    struct handover *h = container_of(self, struct handover, io);
    uint8_t packet[PACKET];
    (void)events;
    for (int i = 0; i < PACKETS_IN_A_ROW && h->io.serial; i++) {
        ssize_t n = recv(h->io.fd, packet, sizeof packet, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        struct span s = span_of(packet, n > 0 ? (size_t)n : 0);
        if (n <= 0 || !take(h, &s)) {
            lose(h);
            return;
        }
    }
}

int handover_open(struct handover *h, struct loop *loop, int fd, struct fault *f) {
    h->loop = loop;
    h->io = (struct loop_fd){.fd = fd, .ready = ready};
    return loop_add(loop, &h->io, EPOLLIN, f);
}

void handover_close(struct handover *h) {
    if (h->io.serial)
        loop_del(h->loop, &h->io);
    free(h->places);
    h->places = NULL;
    h->count = h->free = 0;
}
