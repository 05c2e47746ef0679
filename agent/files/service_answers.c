/* A service's answers: made on its threads, or where a request is refused, and brought to its channel by the loop's thread. */
#include "agent/files/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* From any thread. */
static void post(struct service *s, struct message *m) {
    m->owner = s;
    atomic_fetch_add(&s->references, 1);
    if (post_put(&s->desk->post, &m->post))
        return;
    free(m);
    service_let_go(s);
}

void service_doom(struct service *s, int error) {
    if (atomic_flag_test_and_set(&s->doomed))
        return;
    struct message *m = s->doom;
    s->doom = NULL;
    m->error = (uint32_t)error;
    post(s, m);
}

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
        service_begin_more(s);
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

void service_answer_error(struct service *s, uint64_t unique, int error) {
    struct message *m = short_answer(unique, error, NULL, 0);
    if (m)
        stream_put(&s->stream, m);
    else
        service_doom(s, ENOMEM);
}

/* --- on a file thread --------------------------------------------------------------------------------------------------- */

static struct message *welcome(struct service *s, const struct message *request) {
    const struct fuse_in_header *head = service_head(request);
    struct files_welcome out = {.version = FILES_VERSION, .writes = s->tree.writes};
    return short_answer(head->unique, 0, &out, sizeof out);
}

void service_serve(struct pool *p, struct message *request) {
    struct service *s = container_of(p, struct service, pool);
    bool hello = service_head(request)->opcode == FILES_HELLO;
    struct message *answer = hello ? welcome(s, request) : serve(&s->tree, request);
    if (answer)
        post(s, answer);
    else
        service_doom(s, ENOMEM);
    free(request);
}

void service_refused(struct pool *p, const struct fault *why) {
    service_doom(container_of(p, struct service, pool), why->err ? why->err : EPERM);
}
