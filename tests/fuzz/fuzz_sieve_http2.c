/* Invariant: a server of HTTP/2 (nghttp2's) that is given what the sieve gives never finds a fault in it, and each request that it
 * gets is one of the client's that matches, with its fields and its body; whole, unless the client gave it up. What is changed on
 * its way to the sieve costs nobody but this connection.
 *
 * Input: a session of a client's: requests, bodies in parts, trailers, ends, resets; how its octets are cut into offers; an app that
 * has no room, or goes; at the end maybe an octet that is another.
 *
 * Sources: sieve native/span.c native/msgpack.c native/fault.c */
#include "agent/http/filter.h"
#include "agent/sieve.h"
#include "native/fault.h"

#include <nghttp2/nghttp2.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAMS 64
#define MOST    (1024 * 1024)

struct request {
    bool ours, closed, reset;
    size_t size, said; /* the body's */
    bool last;         /* no more is added */
    size_t got;
    bool seen, whole, lost;
};

struct play {
    nghttp2_session *client, *server;
    struct sieve *sieve;
    struct request request[STREAMS];
    uint8_t *in; /* what the client said and the sieve has not taken */
    size_t n, left;
    size_t room;
    bool none, clean;
};

static struct http_filter *filter;

static uint8_t octet(int32_t id, size_t at) {
    return (uint8_t)(at * 7 + (size_t)id * 13);
}

static struct request *about(struct play *y, int32_t id) {
    return id / 2 < STREAMS ? &y->request[id / 2] : NULL;
}

/* --- the client ---------------------------------------------------------------------------------------------------- */

static ssize_t body(nghttp2_session *session, int32_t id, uint8_t *to, size_t n, uint32_t *flags,
                    nghttp2_data_source *source, void *user) {
    struct request *r = about(user, id);
    (void)session, (void)source;
    if (r->said == r->size && !r->last)
        return NGHTTP2_ERR_DEFERRED;
    n = n < r->size - r->said ? n : r->size - r->said;
    for (size_t i = 0; i < n; i++)
        to[i] = octet(id, r->said + i);
    r->said += n;
    if (r->said == r->size && r->last)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

#define NV(name, value)                                                                            \
    { (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name), strlen(value), 0 }

static void ask(struct play *y, bool ours, uint8_t with) {
    char text[32];
    memset(text, 'a' + with % 26, sizeof text);
    text[with % 31] = 0;
    nghttp2_nv nv[] = {NV(":method", "POST"), NV(":scheme", "http"),
                       NV(":path", "/x"),     NV(":authority", "x"),
                       NV("x-some", text),    NV("x-for", ours ? "anna" : "otto")};
    nghttp2_data_provider provider = {.read_callback = body};
    bool has = with & 1;
    int32_t id = nghttp2_submit_request(y->client, NULL, nv, 6, has ? &provider : NULL, NULL);
    struct request *r = id > 0 ? about(y, id) : NULL;
    if (r == NULL)
        return;
    r->ours = ours;
    r->size = has ? with * 50u : 0;
    r->last = !has || (with & 2);
}

static void more(struct play *y, uint8_t which, uint8_t with) {
    int32_t id = which % STREAMS * 2 + 1;
    struct request *r = about(y, id);
    if (r->closed || r->last)
        return;
    r->size += with * 100u;
    r->last = with & 1;
    nghttp2_session_resume_data(y->client, id);
    if (with % 7 == 6) {
        nghttp2_submit_rst_stream(y->client, 0, id, NGHTTP2_CANCEL);
        r->reset = r->closed = r->last = true;
    }
}

/* The target would grant windows; here nobody else does. */
static void granted(struct play *y) {
    static const uint8_t settings[] = {0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff};
    static const uint8_t window[] = {0, 0, 4, 8, 0, 0, 0, 0, 0, 0x7f, 0, 0, 0};
    nghttp2_session_mem_recv(y->client, settings, sizeof settings);
    nghttp2_session_mem_recv(y->client, window, sizeof window);
}

/* --- the app ------------------------------------------------------------------------------------------------------- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_n, const uint8_t *value, size_t value_n, uint8_t flags,
                     void *user) {
    struct play *y = user;
    (void)session, (void)flags;
    if (name_n != 5 || memcmp(name, "x-for", 5) != 0 || !y->clean)
        return 0;
    struct request *r = about(y, frame->hd.stream_id);
    CHECK(r && r->ours && !r->seen && value_n == 4 && memcmp(value, "anna", 4) == 0);
    r->seen = true;
    return 0;
}

static int on_chunk(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *p, size_t n,
                    void *user) {
    struct play *y = user;
    struct request *r = about(y, id);
    (void)session, (void)flags;
    for (size_t i = 0; y->clean && i < n; i++)
        CHECK(p[i] == octet(id, r->got + i));
    if (r)
        r->got += n;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) {
    struct play *y = user;
    bool ends = frame->hd.type <= NGHTTP2_HEADERS && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    struct request *r = about(y, frame->hd.stream_id);
    if (!ends || !r)
        return 0;
    r->whole = true;
    CHECK(!y->clean || r->got == r->said);
    nghttp2_nv nv[] = {NV(":status", "200")};
    return nghttp2_submit_response(session, frame->hd.stream_id, nv, 1, NULL);
}

static nghttp2_session *session_new(struct play *y, bool server) {
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session;
    nghttp2_session_callbacks_new(&callbacks);
    if (server) {
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_chunk);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
        nghttp2_session_server_new(&session, callbacks, y);
        nghttp2_submit_settings(session, 0, NULL, 0);
    } else {
        nghttp2_session_client_new(&session, callbacks, y);
        nghttp2_submit_settings(session, 0, NULL, 0);
    }
    nghttp2_session_callbacks_del(callbacks);
    return session;
}

static void app_goes(struct play *y) {
    nghttp2_session_del(y->server);
    y->server = NULL;
    for (unsigned i = 0; i < STREAMS; i++) /* what it had it gets no more of */
        y->request[i].lost |= y->request[i].seen;
}

/* --- the shell ----------------------------------------------------------------------------------------------------- */

static enum sieve_leg on_open(void *s) {
    struct play *y = s;
    if (y->none)
        return SIEVE_NONE;
    if (y->server)
        return SIEVE_SAME;
    y->server = session_new(y, true);
    return SIEVE_FRESH;
}

static size_t on_give(void *s, const void *p, size_t n) {
    struct play *y = s;
    n = n < y->room ? n : y->room;
    y->room -= n;
    CHECK(y->server != NULL && nghttp2_session_mem_recv(y->server, p, n) == (ssize_t)n);
    return n;
}

static void on_drop(void *s) {
    CHECK(!((struct play *)s)->clean);
    app_goes(s);
}

static int on_answer(void *s) {
    (void)s;
    return SIEVE_NOBODY_KNOWS;
}

static void on_seen(void *s, bool matched, const char *line, size_t n) {
    (void)s, (void)matched, (void)line;
    CHECK(n <= 200);
}

static const struct sieve_ops ops = {on_open, on_give, on_drop, on_answer, on_seen};

static void offer(struct play *y, size_t n) {
    n = n > y->left ? n : y->left;
    n = n < y->n ? n : y->n;
    uint8_t *p = malloc(n + 1);
    memcpy(p, y->in, n);
    size_t took = sieve_take(y->sieve, p, n, false);
    CHECK(took <= n);
    free(p);
    memmove(y->in, y->in + took, y->n - took);
    y->n -= took;
    y->left = n - took;
}

static void client_says(struct play *y) {
    const uint8_t *p;
    ssize_t n;
    while (y->n < MOST / 2 && (n = nghttp2_session_mem_send(y->client, &p)) > 0) {
        memcpy(y->in + y->n, p, (size_t)n);
        y->n += (size_t)n;
    }
}

static void app_says(struct play *y) {
    const uint8_t *p;
    ssize_t n;
    while (y->server && (n = nghttp2_session_mem_send(y->server, &p)) > 0) {
        uint8_t octets[65536];
        CHECK(n <= (ssize_t)sizeof octets);
        memcpy(octets, p, (size_t)n);
        sieve_answered(y->sieve, octets, (size_t)n);
    }
    sieve_pump(y->sieve);
}

static void step(struct play *y, uint8_t what, uint8_t which, uint8_t with) {
    switch (what % 8) {
    case 0:
    case 1:
        ask(y, what & 1, with);
        break;
    case 2:
        more(y, which, with);
        break;
    case 3:
        y->room = with & 1 ? with : MOST;
        break;
    case 4:
        app_says(y);
        break;
    case 5:
        y->none = with % 4 == 0;
        if (with % 16 == 1) {
            sieve_lost(y->sieve);
            app_goes(y);
        }
        break;
    case 6:
        client_says(y);
        if (y->n > 0 && with % 32 == 31 &&
            which & 1) { /* and it is none of the client's any more */
            y->clean = false;
            y->in[which * 31u % y->n] ^= (uint8_t)(with | 1);
        }
        break;
    default:
        offer(y, with * 16u);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t words[] = "\x91\x91\x92\x00\xad^x-for: anna$";
    struct span packed = span_of(words, sizeof words - 1);
    if (filter == NULL)
        filter = http_filter_read(&packed, NULL);
    struct play y = {.room = MOST, .clean = true, .in = malloc(MOST)};
    y.client = session_new(&y, false);
    y.sieve = sieve_new(&ops, &y, filter);
    granted(&y);
    for (size_t at = 0; at + 3 <= size; at += 3)
        step(&y, data[at], data[at + 1], data[at + 2]);
    for (int i = 0; i < 64; i++) {
        y.room = MOST;
        client_says(&y);
        offer(&y, MOST);
        app_says(&y);
    }
    for (unsigned i = 0; y.clean && i < STREAMS; i++) {
        const struct request *r = &y.request[i];
        CHECK(!r->seen || !y.server || r->whole || !r->last || r->reset || r->lost || y.n > 0);
    }
    nghttp2_session_del(y.client);
    app_goes(&y);
    sieve_free(y.sieve);
    free(y.in);
    return 0;
}
