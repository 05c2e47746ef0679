/* See twins.h. */
#include "twins.h"

uint8_t twin_octet(int32_t id, size_t at) {
    return (uint8_t)((size_t)id * 31 + at + at / 251);
}

struct seen *twin_seen(struct twin *t, int32_t id) {
    EXPECT(id > 0 && id / 2 < TWIN_STREAMS);
    return &t->stream[id / 2];
}

static int on_begin(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct seen *s = twin_seen(user, frame->hd.stream_id);
    (void)session;
    if (s->began && s->fields.n > 0)
        octets_add(&s->fields, "--\n", 3);
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *user) {
    struct seen *s = twin_seen(user, frame->hd.stream_id);
    (void)session, (void)flags;
    octets_add(&s->fields, name, name_n);
    octets_add(&s->fields, ": ", 2);
    octets_add(&s->fields, value, value_n);
    octets_add(&s->fields, "\n", 1);
    return 0;
}

static nghttp2_nv nv(const char *name, const char *value) {
    return (nghttp2_nv){(uint8_t *)name, (uint8_t *)value, strlen(name), strlen(value),
                        NGHTTP2_NV_FLAG_NONE};
}

static ssize_t end_with_trailers(nghttp2_session *session, int32_t id, uint32_t *flags) {
    nghttp2_nv trailer[] = {nv("grpc-status", "0"), nv("x-trailer", "yes")};
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    EXPECT(nghttp2_submit_trailer(session, id, trailer, 2) == 0);
    return 0;
}

static ssize_t echo(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *user) {
    struct seen *s = twin_seen(user, id);
    (void)source;
    size_t left = s->body.n - s->echoed;
    n = n < left ? n : left;
    if (n == 0 && !s->ended)
        return NGHTTP2_ERR_DEFERRED;
    if (n == 0)
        return end_with_trailers(session, id, flags);
    memcpy(to, s->body.p + s->echoed, n);
    s->echoed += n;
    return (ssize_t)n;
}

static void answer(struct twin *t, int32_t id) {
    nghttp2_nv head[] = {nv(":status", "200"), nv("x-from", t->name), nv("x-again", "the same"),
                         nv("content-type", "application/grpc")};
    nghttp2_data_provider provider = {.read_callback = echo};
    EXPECT(nghttp2_submit_response(t->session, id, head, 4, &provider) == 0);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct twin *t = user;
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != 0) {
        fprintf(stderr, "%s was told GOAWAY %u: %.*s\n", t->name, frame->goaway.error_code,
                (int)frame->goaway.opaque_data_len, (char *)frame->goaway.opaque_data);
        t->going++;
    }
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK))
        t->pings++;
    else if (frame->hd.type == NGHTTP2_PING)
        t->pinged++;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct seen *s = twin_seen(t, frame->hd.stream_id);
    bool first = !s->began;
    s->began = true;
    s->ended |= frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    if (first && t->party != CLIENT && !t->silent)
        answer(t, frame->hd.stream_id);
    if (t->party != CLIENT)
        nghttp2_session_resume_data(session, frame->hd.stream_id);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                   void *user) {
    (void)flags;
    octets_add(&twin_seen(user, id)->body, p, n);
    nghttp2_session_resume_data(session, id);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code, void *user) {
    struct seen *s = twin_seen(user, id);
    (void)session;
    s->reset |= code != 0 || !s->ended;
    s->code = code;
    return 0;
}

/* As much as windows and the peer's largest frame allow; nghttp2 itself stops at 16 KiB. */
static ssize_t in_large_frames(nghttp2_session *session, uint8_t type, int32_t id,
                               int32_t session_window, int32_t stream_window, uint32_t most,
                               void *user) {
    (void)session, (void)type, (void)id, (void)user;
    int32_t n = session_window < stream_window ? session_window : stream_window;
    return (uint32_t)n < most ? n : (ssize_t)most;
}

static int on_invalid(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user) {
    struct twin *t = user;
    (void)session;
    fprintf(stderr, "%s got an invalid frame %d: %s\n", t->name, frame->hd.type,
            nghttp2_strerror(error));
    exit(1);
}

static void begin(struct twin *t, struct play *y, unsigned party, const char *name,
                  const nghttp2_settings_entry *set, size_t n,
                  nghttp2_select_padding_callback pad) {
    memset(t, 0, sizeof *t);
    t->y = y;
    t->party = party;
    t->name = name;
    nghttp2_session_callbacks *c;
    EXPECT(nghttp2_session_callbacks_new(&c) == 0);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin);
    nghttp2_session_callbacks_set_on_header_callback(c, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, on_invalid);
    if (party == TARGET)
        nghttp2_session_callbacks_set_data_source_read_length_callback(c, in_large_frames);
    if (pad != NULL)
        nghttp2_session_callbacks_set_select_padding_callback(c, pad);
    EXPECT((party == CLIENT ? nghttp2_session_client_new : nghttp2_session_server_new)(&t->session,
                                                                                       c, t) == 0);
    nghttp2_session_callbacks_del(c);
    EXPECT(nghttp2_submit_settings(t->session, 0, set, n) == 0);
}

void twin_client(struct twin *t, struct play *y, const nghttp2_settings_entry *set, size_t n) {
    begin(t, y, CLIENT, "the client", set, n, NULL);
}

void twin_client_padded(struct twin *t, struct play *y, nghttp2_select_padding_callback pad) {
    begin(t, y, CLIENT, "the client", NULL, 0, pad);
}

void twin_server(struct twin *t, struct play *y, unsigned party, const char *name,
                 const nghttp2_settings_entry *set, size_t n) {
    begin(t, y, party, name, set, n, NULL);
}

void twin_free(struct twin *t) {
    nghttp2_session_del(t->session);
    for (unsigned i = 0; i < TWIN_STREAMS; i++) {
        free(t->stream[i].fields.p);
        free(t->stream[i].body.p);
    }
    free(t->sent.p);
}

static ssize_t request_body(nghttp2_session *session, int32_t id, uint8_t *to, size_t n,
                            uint32_t *flags, nghttp2_data_source *source, void *user) {
    struct seen *s = twin_seen(user, id);
    (void)source;
    size_t left = s->size - s->at;
    n = n < left ? n : left;
    if (n == 0 && s->streams && !s->last)
        return NGHTTP2_ERR_DEFERRED;
    for (size_t i = 0; i < n; i++)
        to[i] = twin_octet(id, s->at + i);
    s->at += n;
    if (s->at < s->size || (s->streams && !s->last))
        return (ssize_t)n;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (s->trailers)
        end_with_trailers(session, id, flags);
    return (ssize_t)n;
}

int32_t twin_ask(struct twin *t, const char *path, const char *who, size_t body, bool trailers) {
    nghttp2_nv head[] = {
        nv(":method", body ? "POST" : "GET"),
        nv(":scheme", "http"),
        nv(":authority", "cart"),
        nv(":path", path),
        nv("te", "trailers"),
        nv("x-same", "in every request, so that it is indexed"),
        nv("authorization", "secret"),
        nv("cookie", "a=b"),
        nv("cookie", "c=d"),
        nv("x-for", who != NULL ? who : ""),
    };
    head[6].flags = NGHTTP2_NV_FLAG_NO_INDEX;
    nghttp2_data_provider provider = {.read_callback = request_body};
    int32_t next = (int32_t)nghttp2_session_get_next_stream_id(t->session);
    struct seen *s = twin_seen(t, next);
    s->size = body;
    s->trailers = trailers;
    int32_t id = nghttp2_submit_request(t->session, NULL, head, who != NULL ? 10 : 9,
                                        body > 0 || trailers ? &provider : NULL, NULL);
    EXPECT(id == next);
    return id;
}

/* Whatever this one has to say, and has been told. */
static bool move(struct twin *t) {
    const uint8_t *p;
    bool any = false;
    if (t->party >= EXCHANGE_APP && !(t->y->asked[t->party] && t->y->accepted[t->party]))
        return false;
    struct octets told = t->y->told[t->party];
    t->y->told[t->party] = (struct octets){0};
    if (told.n > 0) {
        ssize_t took = nghttp2_session_mem_recv(t->session, told.p, told.n);
        if (took != (ssize_t)told.n) {
            fprintf(stderr, "%s: %s\n", t->name, nghttp2_strerror((int)took));
            exit(1);
        }
        any = true;
    }
    free(told.p);
    for (ssize_t n; (n = nghttp2_session_mem_send(t->session, &p)) > 0; any = true) {
        octets_add(&t->sent, p, (size_t)n);
        for (size_t at = 0; at < (size_t)n;) {
            size_t part = t->split > 0 && t->split < (size_t)n - at ? t->split : (size_t)n - at;
            play_says(t->y, t->party, p + at, part);
            at += part;
        }
    }
    return any;
}

void twins_move(struct twin **all, size_t n) {
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++)
            more |= move(all[i]);
    }
}

void twin_expect(struct twin *client, int32_t id, const char *from, size_t body) {
    struct seen *s = twin_seen(client, id);
    char head[200];
    int n = snprintf(head, sizeof head,
                     ":status: 200\nx-from: %s\nx-again: the same\n"
                     "content-type: application/grpc\n--\ngrpc-status: 0\nx-trailer: yes\n",
                     from);
    bool good = s->ended && !s->reset && s->fields.n == (size_t)n &&
                memcmp(s->fields.p, head, (size_t)n) == 0 && s->body.n == body;
    for (size_t i = 0; good && i < body; i++)
        good = s->body.p[i] == twin_octet(id, i);
    if (good)
        return;
    fprintf(stderr,
            "stream %d, of %s: ended %d, reset %d (%u), %zu octets of %zu, and the fields\n%.*s",
            id, from, s->ended, s->reset, s->code, s->body.n, body, (int)s->fields.n,
            (const char *)s->fields.p);
    exit(1);
}
