/* Invariant: whatever the peer sends, in whatever pieces, and whatever the owner does in between: no octet is given to the
 * owner beyond the window it stated and granted; every channel has one last callback or was ended by its owner; a link
 * that broke is told once; and a channel that is not attached is never called. A kept link (chosen by the input) may besides be
 * cut and resumed with any claim: one that cannot be is refused, and what it counts never decreases.
 *
 * The input is a list of steps: an octet that chooses, and what it needs. Some write well-formed frames for small channel
 * numbers, so that states behind the first frame are reached; one writes octets as they are.
 *
 * Sources: native
 */
#include "native/loop.h"
#include "native/mux_frame.h"
#include "native/span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHANNELS = 8, WINDOW = 3000 };

struct owned {
    struct channel channel;
    bool ended; /* the last callback came, or the owner ended it */
    bool eof_sent;
    uint64_t stated; /* octets we let the peer send */
    uint64_t got;
    uint64_t ungranted;
};

static struct owned owned[CHANNELS];
static struct loop *loop;
static struct mux *mux;
static int peer;
static int gone, cuts;
static bool keeps;
static uint64_t said;       /* octets that the link may have of us, on all its sockets */
static struct span *script; /* callbacks take their decisions from it too */

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static uint8_t choose(void) {
    uint8_t v = 0;
    span_u8(script, &v);
    return v;
}

/* One of the things an owner may do. */
static void act(struct owned *o, uint8_t what) {
    static const uint8_t payload[70000];
    static const struct endpoint nowhere;
    size_t room;
    switch (what % 8) {
    case 0:
        channel_reset(&o->channel, ECONNRESET);
        if (!channel_attached(&o->channel))
            o->ended = true;
        break;
    case 1:
        channel_eof(&o->channel);
        o->eof_sent = true;
        if (!channel_attached(&o->channel))
            o->ended = true;
        break;
    case 2:
        channel_grant(&o->channel, o->ungranted);
        o->stated += o->ungranted;
        o->ungranted = 0;
        break;
    case 3:
        room = channel_room(&o->channel);
        if (room > 0)
            channel_send(&o->channel, payload, room < sizeof payload ? room : sizeof payload);
        break;
    case 4:
        channel_want_room(&o->channel);
        break;
    case 5:
        channel_datagram(&o->channel, &nowhere, payload, choose());
        break;
    case 6:
        channel_unreachable(&o->channel, &nowhere, EHOSTUNREACH);
        break;
    default:
        break;
    }
}

static struct owned *called(struct channel *c) {
    struct owned *o = container_of(c, struct owned, channel);
    CHECK(!o->ended);
    return o;
}

static void on_plain(struct channel *c) {
    act(called(c), choose());
}

static void on_data(struct channel *c, const uint8_t *p, size_t n) {
    struct owned *o = called(c);
    o->got += n;
    o->ungranted += n;
    CHECK(n > 0 && o->got <= o->stated && p[0] + p[n - 1] >= 0);
    act(o, choose());
}

static void on_datagram(struct channel *c, const struct endpoint *from, const uint8_t *p,
                        size_t n) {
    (void)from;
    CHECK(n == 0 || p[0] + p[n - 1] >= 0);
    act(called(c), choose());
}

static void on_unreachable(struct channel *c, const struct endpoint *from, int err) {
    (void)from;
    (void)err;
    act(called(c), choose());
}

static void on_eof(struct channel *c) {
    struct owned *o = called(c);
    if (!channel_attached(c)) {
        CHECK(o->eof_sent);
        o->ended = true;
        return;
    }
    act(o, choose());
}

static void on_reset(struct channel *c, int err) {
    (void)err;
    CHECK(!channel_attached(c));
    called(c)->ended = true;
}

static const struct channel_ops channel_ops = {on_plain, on_data, on_datagram, on_unreachable,
                                               on_plain, on_eof,  on_reset};

static struct owned *unused(void) {
    for (size_t i = 0; i < CHANNELS; i++) {
        if (owned[i].ended) {
            owned[i] = (struct owned){.channel.ops = &channel_ops, .stated = WINDOW};
            return &owned[i];
        }
    }
    return NULL;
}

static struct channel *on_open(void *owner, const struct channel_open *o, int *err) {
    (void)owner;
    (void)o;
    struct owned *found = unused();
    *err = EMFILE;
    if (found == NULL)
        return NULL;
    if (choose() % 2)
        channel_accept(&found->channel, &channel_ops, WINDOW);
    return &found->channel;
}

static void on_gone(void *owner, const struct fault *why) {
    (void)owner;
    CHECK(why->text[0] != '\0');
    gone++;
}

static void on_cut(void *owner, const struct fault *why) {
    (void)owner;
    CHECK(keeps && gone == 0 && why->text[0] != '\0');
    cuts++;
}

static const struct mux_ops mux_ops = {.open = on_open, .gone = on_gone, .cut = on_cut};

static void stop(struct task *t) {
    (void)t;
    loop_stop(loop);
}

static void turn(void) {
    struct task t = {.run = stop};
    loop_defer(loop, &t);
    CHECK(loop_run(loop, NULL) == 0);
}

static void say(const void *p, size_t n) {
    ssize_t sent = n > 0 ? send(peer, p, n, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent < 0)
        CHECK(errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
    else
        said += (uint64_t)sent;
}

/* Cuts, and resumes with a claim near what the link last said. */
static void resume(uint64_t claim) {
    int fds[2];
    struct fault f;
    uint64_t received = mux_cut(mux);
    CHECK(received <= said);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    close(peer);
    peer = fds[1];
    if (mux_resume(mux, fds[0], claim, &f) < 0)
        CHECK(f.text[0] != '\0');
    said = received;
}

/* A well-formed frame for a channel that may exist. */
static void say_frame(uint8_t what) {
    static uint8_t frame[FRAME_HEAD + 4096];
    uint32_t id = choose() % 12;
    size_t size = choose() * 16u;
    struct channel_open o = {.kind = CHANNEL_TCP, .window = (uint32_t)size};
    struct endpoint from = {.addr = addr_v4("\xc6\x12\x00\x02"), .port = 5};
    size_t n;
    switch (what % 7) {
    case 0:
        n = frame_open(frame, id, &o);
        break;
    case 1:
        n = frame_number(frame, FRAME_OPENED, id, (uint32_t)size);
        break;
    case 2:
        n = frame_data(frame, id, size) + size;
        break;
    case 3:
        n = frame_number(frame, FRAME_GRANT, id, (uint32_t)size);
        break;
    case 4:
        n = frame_eof(frame, id);
        break;
    case 5:
        n = frame_number(frame, FRAME_RESET, id, ECONNRESET);
        break;
    default:
        n = what & 0x80 ? frame_ack(frame, size + id)
                        : frame_datagram(frame, id, &from, size) + size;
    }
    say(frame, n);
}

static void step(uint8_t what) {
    static uint8_t answers[1 << 20];
    const uint8_t *p;
    size_t n;
    switch (what % 16) {
    case 0:
        n = choose();
        n = n < span_left(script) ? n : span_left(script);
        if (span_take(script, n, &p))
            say(p, n);
        break;
    case 1: {
        struct owned *o = unused();
        struct channel_open open = {.kind = CHANNEL_TCP, .window = WINDOW};
        if (o == NULL)
            break;
        channel_open(mux, &o->channel, &channel_ops, &open);
        o->ended = !channel_attached(&o->channel);
        break;
    }
    case 2:
        channel_accept(&owned[choose() % CHANNELS].channel, &channel_ops, WINDOW);
        break;
    case 3:
    case 4:
    case 5: {
        struct owned *o = &owned[choose() % CHANNELS];
        act(o, choose());
        break;
    }
    case 6:
        while (recv(peer, answers, sizeof answers, MSG_DONTWAIT) > 0)
            continue;
        break;
    case 7:
        if (choose() % 8 == 0)
            shutdown(peer, SHUT_RDWR);
        else if (keeps)
            resume(choose() * 4u + choose() % 4);
        break;
    case 8:
    case 9:
    case 10:
        turn();
        break;
    default:
        say_frame(what / 16);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    int fds[2];
    struct span s = span_of(p, n);
    script = &s;
    gone = cuts = 0;
    said = 0;
    loop = loop_new(NULL);
    CHECK(loop != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    for (size_t i = 0; i < CHANNELS; i++)
        owned[i] = (struct owned){.ended = true};
    uint8_t kind = choose();
    mux = mux_new(loop, fds[0], kind % 2, &mux_ops, NULL, NULL);
    CHECK(mux != NULL);
    keeps = kind & 2;
    CHECK(!keeps || mux_keep(mux, NULL) == 0);
    peer = fds[1];
    while (span_left(&s) > 0)
        step(choose());
    turn();
    turn();
    close(peer);
    turn();
    turn();
    CHECK(gone == 1 || (keeps && gone == 0));
    CHECK(gone == 0 || mux_channels(mux) == 0);
    mux_free(mux);
    for (size_t i = 0; i < CHANNELS; i++)
        CHECK(owned[i].ended);
    loop_free(loop);
    return 0;
}
