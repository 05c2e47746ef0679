/* See files.h: what happens on the loop's thread. What is begun and what waits, and how answers come back to the channel. */
#include "agent/files/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORK = 64, /* requests begun and not answered: so much may become answers at once */
    UNSENT = 4 * 1024 * 1024, /* octets of answers; above it nothing more is begun */
};

/* --- answers ------------------------------------------------------------------------------------------------------------ */

/* From any thread. */
static void post(struct service *s, struct message *m) {
    m->owner = s;
    atomic_fetch_add(&s->references, 1);
    if (post_put(&s->desk->post, &m->post))
        return;
    free(m);
    service_let_go(s);
}

/* From any thread: the channel ends with this, soon, but not inside what is going on. */
static void doom(struct service *s, int error) {
    if (atomic_flag_test_and_set(&s->doomed))
        return;
    struct message *m = s->doom;
    s->doom = NULL;
    m->error = (uint32_t)error;
    post(s, m);
}

static void begin_more(struct service *s);

/* An answer takes of what was paid when it was asked for, of whichever; only what is beyond that is new. */
static void charge(struct service *s, size_t octets) {
    size_t paid = octets < s->prepaid ? octets : s->prepaid;
    s->prepaid -= paid;
    shaper_pass(s->rates.down, octets - paid);
}

void service_take(struct post *p, struct post_item *item) {
    (void)p;
    struct message *m = container_of(item, struct message, post);
    struct service *s = m->owner;
    bool there = channel_attached(&s->stream.channel);
    if (m->error && there) {
        int err = (int)m->error;
        free(m);
        stream_end(&s->stream, err);
    } else if (there) {
        s->work--;
        charge(s, m->len);
        stream_put(&s->stream, m);
        begin_more(s);
    } else {
        free(m);
    }
    service_let_go(s);
}

static struct message *short_answer(uint64_t unique, int error, const void *body, size_t n) {
    struct message *m = message_new(sizeof(struct fuse_out_header) + n);
    if (!m)
        return NULL;
    *(struct fuse_out_header *)m->data =
        (struct fuse_out_header){.len = m->len, .error = error, .unique = unique};
    if (n)
        memcpy(m->data + sizeof(struct fuse_out_header), body, n);
    return m;
}

/* Refuses in a message or, without memory for one, by the channel's end. */
static void answer_error(struct service *s, uint64_t unique, int error) {
    struct message *m = short_answer(unique, error, NULL, 0);
    if (m)
        stream_put(&s->stream, m);
    else
        doom(s, ENOMEM);
}

/* --- on a file thread --------------------------------------------------------------------------------------------------- */

static const struct fuse_in_header *head_of(const struct message *m) {
    return (const void *)m->data;
}

static struct message *welcome(struct service *s, const struct message *request) {
    const struct fuse_in_header *head = head_of(request);
    struct files_welcome out = {.version = FILES_VERSION, .writes = s->tree.writes};
    return short_answer(head->unique, 0, &out, sizeof out);
}

static void serve_one(struct pool *p, struct message *request) {
    struct service *s = container_of(p, struct service, pool);
    bool hello = head_of(request)->opcode == FILES_HELLO;
    struct message *answer = hello ? welcome(s, request) : serve(&s->tree, request);
    if (answer)
        post(s, answer);
    else
        doom(s, ENOMEM);
    free(request);
}

/* The peer hears the errno. */
static void refused(struct pool *p, const struct fault *why) {
    doom(container_of(p, struct service, pool), why->err ? why->err : EPERM);
}

/* --- requests ----------------------------------------------------------------------------------------------------------- */

/* Octets of the answer, as far as the request says so: or all of a file's reads would be begun before the first is charged. */
static size_t asks_for(const struct message *m) {
    const struct fuse_read_in *in = (const void *)(m->data + sizeof(struct fuse_in_header));
    bool reads =
        head_of(m)->opcode == FUSE_READ && m->len >= sizeof(struct fuse_in_header) + sizeof *in;
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
        answer_error(s, head_of(m)->unique, -EIO);
        free(m);
    }
    if (pool_look(&s->pool))
        look_again(s);
    begin_more(s);
}

static void begin(struct service *s, struct message *m) {
    note(s, head_of(m)->opcode);
    shaper_pass(s->rates.up, m->len);
    shaper_pass(s->rates.down, asks_for(m));
    s->prepaid += asks_for(m);
    stream_granted(&s->stream, m->len);
    s->work++;
    if (pool_put(&s->pool, m) < 0)
        doom(s, EAGAIN);
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

static void begin_more(struct service *s) {
    while (s->waiting.first && s->work < WORK && s->stream.unsent < UNSENT && has_turn(s))
        begin(s, messages_take(&s->waiting));
}

static void may_be_asked(struct shaped *self) {
    begin_more(container_of(self, struct service, to_be_asked));
}

static void may_answer(struct shaped *self) {
    begin_more(container_of(self, struct service, to_answer));
}

static void sent(struct stream *st) {
    begin_more(container_of(st, struct service, stream));
}

static bool is_number(const struct message *m, uint64_t unique) {
    return head_of(m)->unique == unique;
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
        answer_error(s, in->unique, -EINTR);
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
    uint32_t opcode = head_of(m)->opcode;
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
    if (head_of(m)->opcode == FILES_HELLO ? !greet(s, m) : !s->greeted) {
        free(m);
        doom(s, EPROTO);
    } else if (at_once(s, m)) {
        stream_granted(st, m->len);
        free(m);
    } else {
        messages_put(&s->waiting, m);
        begin_more(s);
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
    s->pool.serve = serve_one;
    s->pool.refused = refused;
    s->pool.over = pool_over;
    s->look.fire = on_look;
    s->to_be_asked.go = may_be_asked;
    s->to_answer.go = may_answer;
}
