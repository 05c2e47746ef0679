/* See files.h: what happens on the loop's thread. The channel, what is begun and what waits, and the service's life.
 *
 * A service is freed when the loop has let go of it and its last thread has ended. Answers that are on their way by then are
 * dropped where they arrive: each carries its service, which lives until they have (`references`). */
#include "agent/files/files.h"

#include "agent/files/pool.h"
#include "agent/files/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    WORK = 64, /* requests begun and not answered: so much may become answers at once */
    UNSENT = 4 * 1024 * 1024, /* octets of answers; above it nothing more is begun */
};

struct service {
    struct stream stream;
    struct pool pool;
    struct tree tree;
    struct credentials who;
    struct files_desk *desk;
    const void *owner;
    struct service *next, *prev; /* of the desk's */
    atomic_uint references;
    atomic_flag doomed;
    struct message *doom; /* says so: made beforehand, so that want of memory can be said too */
    bool greeted;
    uint32_t work;
    struct timer look; /* while requests wait for a thread */
    struct messages waiting;
    struct files_used *used;
    struct files_rates rates;
    struct shaped to_be_asked, to_answer; /* its places in their queues */
    size_t prepaid; /* octets of answers that the rate has let pass and that have not come */
};

struct files_desk {
    struct post post;
    atomic_uint
        references; /* the engine's, and each service's: a thread that hangs outlives the engine */
    struct service services; /* a ring's head */
};

/* --- its life ----------------------------------------------------------------------------------------------------------- */

static void desk_let_go(struct files_desk *d) {
    if (atomic_fetch_sub(&d->references, 1) == 1)
        free(d);
}

static void let_go(struct service *s) {
    if (atomic_fetch_sub(&s->references, 1) != 1)
        return;
    handles_clear(&s->tree.handles);
    nodes_free(s->tree.nodes);
    spares_clear(&s->tree.spares);
    pool_free(&s->pool);
    free(s->doom);
    desk_let_go(s->desk);
    free(s);
}

static void pool_over(struct pool *p) {
    let_go(container_of(p, struct service, pool));
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
    let_go(s);
}

/* --- answers ------------------------------------------------------------------------------------------------------------ */

/* From any thread. */
static void post(struct service *s, struct message *m) {
    m->owner = s;
    atomic_fetch_add(&s->references, 1);
    if (post_put(&s->desk->post, &m->post))
        return;
    free(m);
    let_go(s);
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

static void take(struct post *p, struct post_item *item) {
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
    let_go(s);
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

static const struct stream_ops stream_ops = {.got = got, .sent = sent, .ended = channel_ended};

/* --- opening ------------------------------------------------------------------------------------------------------------ */

/* pidfd_open(2): readable once the process has ended, and then /proc/PID may have been another's. */
static bool has_ended(int pidfd) {
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, 0) != 0;
}

/* An O_PATH descriptor of the target's root, in the target's mount namespace; and who it is. Neither blocks: it is /proc. */
static int look_at(struct service *s, const struct files_target *t, struct fault *f) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/root", (int)t->pid);
    /*privileged CAP_SYS_PTRACE: /proc/PID/root of another user's process (proc(5)). */
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fault_set(f, errno == ENOENT ? ESRCH : errno, "open the target's root");
    if (credentials_read(t->pid, &s->who, f) < 0 || has_ended(t->pidfd)) {
        close(root);
        return fault_set(f, ESRCH, "the target's process has ended");
    }
    s->tree.nodes = nodes_new(root);
    return s->tree.nodes ? 0 : fault_set(f, ENOMEM, "a table of the target's files");
}

static struct service *service_new(const struct files_target *t, int *err) {
    struct fault f = {.err = ENOMEM};
    struct service *s = calloc(1, sizeof *s);
    if (s && (s->doom = message_new(0)) && look_at(s, t, &f) == 0)
        return s;
    if (s)
        free(s->doom);
    free(s);
    *err = f.err;
    return NULL;
}

static void tree_init(struct service *s, const struct files_target *t) {
    handles_init(&s->tree.handles, s->tree.nodes);
    s->tree.uid = s->tree.shown_uid = s->who.uid;
    s->tree.gid = s->tree.shown_gid = s->who.gid;
    s->tree.writes = t->writes;
    s->tree.connects = t->connects;
}

struct channel *files_open(struct files_desk *d, const struct files_target *t,
                           struct files_rates rates, const void *owner, int *err) {
    *err = EACCES;
    struct service *s = t->pidfd < 0 ? NULL : service_new(t, err);
    if (!s)
        return NULL;
    spares_init(&s->tree.spares);
    stream_init(&s->stream, &stream_ops, &s->tree.spares, sizeof(struct fuse_in_header),
                FILES_MESSAGE);
    messages_init(&s->waiting);
    pool_init(&s->pool, &s->who);
    s->pool.serve = serve_one;
    s->pool.refused = refused;
    s->pool.over = pool_over;
    s->look.fire = on_look;
    tree_init(s, t);
    s->used = t->used;
    atomic_flag_clear(&s->doomed);
    atomic_init(&s->references, 2); /* the loop's, and its pool's */
    s->desk = d;
    atomic_fetch_add(&d->references, 1);
    s->owner = owner;
    s->rates = rates;
    s->to_be_asked.go = may_be_asked;
    s->to_answer.go = may_answer;
    s->next = &d->services;
    s->prev = d->services.prev;
    s->prev->next = s->next->prev = s;
    s->stream.channel.ops = &stream_channel_ops;
    channel_accept(&s->stream.channel, &stream_channel_ops, FILES_WINDOW);
    return &s->stream.channel;
}

/* Of a handle that is a connected socket: its own descriptor. -1, EBADF: it is not. */
static int socket_of(const struct handle *h) {
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    if (getpeername(h->fd, (struct sockaddr *)&peer, &len) == 0 || errno != ENOTSOCK)
        return fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    errno = EBADF;
    return -1;
}

int files_take(struct files_desk *d, const void *owner, uint64_t handle) {
    for (struct service *s = d->services.next; s != &d->services; s = s->next) {
        struct handle *h = s->owner == owner ? handles_use(&s->tree.handles, handle) : NULL;
        if (!h)
            continue;
        int fd = socket_of(h);
        handles_done(&s->tree.handles, h);
        if (fd >= 0)
            handles_release(&s->tree.handles, handle);
        return fd;
    }
    errno = EBADF;
    return -1;
}

void files_leave(struct files_desk *d, const void *owner, int err) {
    for (struct service *s = d->services.next, *next; s != &d->services; s = next) {
        next = s->next;
        if (s->owner == owner)
            stream_end(&s->stream, err);
    }
}

struct files_desk *files_desk_new(struct loop *l, struct fault *f) {
    struct files_desk *d = calloc(1, sizeof *d);
    if (!d) {
        fault_set(f, ENOMEM, "a desk for files");
        return NULL;
    }
    atomic_init(&d->references, 1);
    d->services.next = d->services.prev = &d->services;
    if (post_open(&d->post, l, take, f) == 0)
        return d;
    free(d);
    return NULL;
}

void files_desk_free(struct files_desk *d) {
    post_close(&d->post);
    desk_let_go(d);
}
