/* See files.h: what happens on the loop's thread. What is begun and what waits. */
#include "agent/files/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORK = 64, /* requests begun and not answered: so much may become answers at once */
    UNSENT = 4 * 1024 * 1024, /* octets of answers; above it nothing more is begun */
};

/* --- requests ----------------------------------------------------------------------------------------------------------- */

/* Octets of the answer, as far as the request says so: or all of a file's reads would be begun before the first is charged. */
static size_t asks_for(const struct message *m) {
    const struct fuse_read_in *in = (const void *)(m->data + sizeof(struct fuse_in_header));
    bool reads = service_head(m)->opcode == FUSE_READ &&
                 m->len >= sizeof(struct fuse_in_header) + sizeof *in;
    return reads ? in->size < FILES_IO ? in->size : FILES_IO : 0;
}

static void note(struct service *s, uint32_t opcode) {
    if (!s->used || opcode == FILES_HELLO)
        return;
    if (s->tree.writes && serve_changes(opcode))
        s->used->written = true;
    else
        s->used->read = true;
}

static void look_again(struct service *s) {
    struct loop *l = s->desk->post.loop;
    if (!s->look.place)
        timer_set(l, &s->look, loop_now(l) + POOL_STUCK);
}

/* Requests wait for threads that may be stuck. When all are that there may be, EIO is what can be said of the target's disk. */
static void on_look(struct timer *t) {
    struct service *s = container_of(t, struct service, look);
    struct message *m;
    while (pool_is_stuck(&s->pool) && (m = pool_take_first(&s->pool))) {
        s->work--;
        service_answer_error(s, service_head(m)->unique, -EIO);
        free(m);
    }
    if (pool_look(&s->pool))
        look_again(s);
    service_begin_more(s);
}

static void begin(struct service *s, struct message *m) {
    note(s, service_head(m)->opcode);
    shaper_pass(s->rates.up, m->len);
    shaper_pass(s->rates.down, asks_for(m));
    s->prepaid += asks_for(m);
    stream_granted(&s->stream, m->len);
    s->work++;
    if (pool_put(&s->pool, m) < 0)
        service_doom(s, EAGAIN);
    look_again(s);
}

/* Whether the next may be begun now, of the rates; else its turn is waited for. */
static bool has_turn(struct service *s) {
    if (!shaper_room(s->rates.up))
        shaper_wait(s->rates.up, &s->to_be_asked);
    else if (!shaper_room(s->rates.down))
        shaper_wait(s->rates.down, &s->to_answer);
    else
        return true;
    return false;
}

void service_begin_more(struct service *s) {
    while (s->waiting.first && s->work < WORK && s->stream.unsent < UNSENT && has_turn(s))
        begin(s, messages_take(&s->waiting));
}

static void may_be_asked(struct shaped *self) {
    service_begin_more(container_of(self, struct service, to_be_asked));
}

static void may_answer(struct shaped *self) {
    service_begin_more(container_of(self, struct service, to_answer));
}

static void sent(struct stream *st) {
    service_begin_more(container_of(st, struct service, stream));
}

static bool is_number(const struct message *m, uint64_t unique) {
    return service_head(m)->unique == unique;
}

/* One that nobody has begun is answered; the others come to an end of their own. */
static void interrupt(struct service *s, const struct message *m) {
    const struct fuse_interrupt_in *in = (const void *)(m->data + sizeof(struct fuse_in_header));
    struct messages kept;
    messages_init(&kept);
    struct message *found = pool_take_back(&s->pool, is_number, in->unique);
    if (found)
        s->work--;
    for (struct message *w; (w = messages_take(&s->waiting));)
        if (!found && is_number(w, in->unique)) {
            found = w;
            stream_granted(&s->stream, w->len);
        } else {
            messages_put(&kept, w);
        }
    for (struct message *w; (w = messages_take(&kept));)
        messages_put(&s->waiting, w);
    free(found);
    if (found)
        service_answer_error(s, in->unique, -EINTR);
}

static bool greet(struct service *s, const struct message *m) {
    const struct files_hello *in = (const void *)(m->data + sizeof(struct fuse_in_header));
    if (s->greeted || m->len != sizeof(struct fuse_in_header) + sizeof *in ||
        in->version != FILES_VERSION)
        return false;
    s->greeted = true;
    s->tree.shown_uid = in->uid;
    s->tree.shown_gid = in->gid;
    return true;
}

/* What needs no file call, and has no answer. */
static bool at_once(struct service *s, const struct message *m) {
    uint32_t opcode = service_head(m)->opcode;
    if (opcode == FUSE_INTERRUPT &&
        m->len >= sizeof(struct fuse_in_header) + sizeof(struct fuse_interrupt_in))
        interrupt(s, m);
    else if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET)
        serve(&s->tree, m);
    else
        return false;
    return true;
}

static void got(struct stream *st, struct message *m) {
    struct service *s = container_of(st, struct service, stream);
    if (service_head(m)->opcode == FILES_HELLO ? !greet(s, m) : !s->greeted) {
        free(m);
        service_doom(s, EPROTO);
    } else if (at_once(s, m)) {
        stream_granted(st, m->len);
        free(m);
    } else {
        messages_put(&s->waiting, m);
        service_begin_more(s);
    }
}

/* --- its end and its beginning ------------------------------------------------------------------------------------------- */

static void pool_over(struct pool *p) {
    service_let_go(container_of(p, struct service, pool));
}

static void channel_ended(struct stream *st, int err) {
    (void)err;
    struct service *s = container_of(st, struct service, stream);
    s->next->prev = s->prev;
    s->prev->next = s->next;
    messages_clear(&s->waiting);
    shaper_leave(s->rates.up, &s->to_be_asked);
    shaper_leave(s->rates.down, &s->to_answer);
    timer_cancel(s->desk->post.loop, &s->look);
    pool_end(&s->pool); /* its reference goes with its last thread */
    service_let_go(s);
}

static const struct stream_ops stream_ops = {.got = got, .sent = sent, .ended = channel_ended};

void service_init(struct service *s) {
    stream_init(&s->stream, &stream_ops, &s->tree.spares, sizeof(struct fuse_in_header),
                FILES_MESSAGE);
    messages_init(&s->waiting);
    pool_init(&s->pool, &s->who);
    s->pool.serve = service_serve;
    s->pool.refused = service_refused;
    s->pool.over = pool_over;
    s->look.fire = on_look;
    s->to_be_asked.go = may_be_asked;
    s->to_answer.go = may_answer;
}
