/* HTTP/2 through the exchange, between real sessions: each stream with its party, windows and tables in order. */
#include "agent/http/filter.h"
#include "twins.h"

static struct play y;
static struct twin client, target, app, app2;
static struct twin *all[] = {&client, &target, &app, &app2};

#define SETS(s) s, sizeof s / sizeof *s

static void begin_with(const nghttp2_settings_entry *client_set, size_t client_n,
                       const nghttp2_settings_entry *target_set, size_t target_n) {
    play_begin(&y);
    play_rule(&y, "H:^x-for: (anna|both)$");
    play_rule(&y, "H:^x-for: (bert|both)$");
    twin_client(&client, &y, client_set, client_n);
    twin_server(&target, &y, TARGET, "target", target_set, target_n);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    twin_server(&app2, &y, APP2, "bert", NULL, 0);
}

static void begin(void) {
    begin_with(NULL, 0, NULL, 0);
}

static void move(void) {
    twins_move(all, 4);
}

static void finish(void) {
    EXPECT(client.going == 0 && target.going == 0 && app.going == 0 && app2.going == 0);
    for (unsigned i = 0; i < 4; i++)
        twin_free(all[i]);
    play_end(&y);
}

/* The client's octets as the target saw them, while none was ours. */
static void octet_for_octet(void) {
    for (size_t split = 0; split < 40; split = split * 3 + 1) {
        begin();
        client.split = target.split = split;
        struct octets told = {0};
        for (unsigned i = 0; i < 30; i++) {
            twin_ask(&client, "/t", i % 2 ? "nobody" : NULL, i * 100, i % 3 == 0);
            const uint8_t *p;
            for (ssize_t n; (n = nghttp2_session_mem_send(client.session, &p)) > 0;)
                octets_add(&client.sent, p, (size_t)n);
        }
        for (size_t at = 0; at < client.sent.n; at++) {
            play_says(&y, CLIENT, client.sent.p + at, 1);
            if (at % 1000 == 0 || at + 1 == client.sent.n) {
                octets_add(&told, y.told[TARGET].p, y.told[TARGET].n);
                y.told[TARGET].n = 0;
            }
        }
        EXPECT(told.n == client.sent.n && memcmp(told.p, client.sent.p, told.n) == 0);
        EXPECT(y.raw < 0 && y.seen == 30 && y.matched == 0);
        octets_add(&y.told[TARGET], told.p, told.n);
        move();
        free(told.p);
        for (int32_t i = 0; i < 30; i++)
            twin_expect(&client, 1 + 2 * i, "target", (size_t)i * 100);
        EXPECT_TEXT(y.line, "POST /t HTTP/2");
        finish();
    }
}

static const char *const whose[] = {NULL, "anna", "bert", "nobody", "both"};
static const char *const from[] = {"target", "anna", "bert", "target", "anna"};

static void each_stream_to_its_party(void) {
    for (size_t split = 0; split < 100; split = split * 7 + 1) {
        begin();
        client.split = target.split = app.split = app2.split = split;
        for (int32_t i = 0; i < 200; i++) {
            twin_ask(&client, "/svc/Method", whose[i % 5], (size_t)(i % 7 * 300), i % 2);
            if (i % 9 == 0)
                move();
        }
        move();
        for (int32_t i = 0; i < 200; i++)
            twin_expect(&client, 1 + 2 * i, from[i % 5], (size_t)(i % 7 * 300));
        EXPECT(y.seen == 200 && y.matched == 120 && y.asks[APP] == 1 && y.asks[APP2] == 1);
        finish();
    }
}

/* The fields of what stays are what they were, in their order, with their values and flags. */
static void fields_as_they_were(void) {
    begin();
    twin_ask(&client, "/a", "anna", 0, false);
    int32_t id = twin_ask(&client, "/t?x=%20", "nobody", 5, true);
    move();
    static const char expected[] =
        ":method: POST\n:scheme: http\n:authority: cart\n:path: /t?x=%20\nte: trailers\n"
        "x-same: in every request, so that it is indexed\nauthorization: secret\n"
        "cookie: a=b\ncookie: c=d\nx-for: nobody\n--\ngrpc-status: 0\nx-trailer: yes\n";
    struct seen *s = twin_seen(&target, id);
    EXPECT(s->fields.n == strlen(expected) && memcmp(s->fields.p, expected, s->fields.n) == 0);
    s = twin_seen(&app, 1);
    EXPECT(s->ended && s->fields.n > 40 && memcmp(s->fields.p, ":method: GET\n", 13) == 0);
    EXPECT(!twin_seen(&target, 1)->began);
    finish();
}

static void authority_is_the_host(void) {
    begin();
    http_filter_free((struct http_filter *)y.rules.slot[1].filter);
    y.rules.count = 1;
    play_rule(&y, "H:^host: cart$\nP:^/hosted$");
    int32_t id = twin_ask(&client, "/hosted", NULL, 5, false);
    move();
    twin_expect(&client, id, "bert", 5);
    finish();
}

/* Tables of every size, set by either side, before and after the first taken stream. */
static void header_tables(void) {
    static const uint32_t sizes[] = {0, 60, 100, 4096, 65536};
    for (unsigned c = 0; c < 5; c++)
        for (unsigned t = 0; t < 5; t++) {
            nghttp2_settings_entry client_set = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, sizes[c]};
            nghttp2_settings_entry target_set = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, sizes[t]};
            begin_with(&client_set, 1, &target_set, 1);
            for (int32_t i = 0; i < 40; i++) {
                twin_ask(&client, "/x", whose[i * 7 % 5], 10, i % 3 == 0);
                move();
                if (i % 8 != 7)
                    continue;
                client_set.value = sizes[(c + (unsigned)i) % 5];
                target_set.value = sizes[(t + (unsigned)i * 3) % 5];
                nghttp2_submit_settings(client.session, 0, &client_set, 1);
                nghttp2_submit_settings(target.session, 0, &target_set, 1);
            }
            for (int32_t i = 0; i < 40; i++)
                twin_expect(&client, 1 + 2 * i, from[i * 7 % 5], 10);
            finish();
        }
}

/* Megabytes both ways, in windows that are much smaller: nobody is told more than it can take, and all of it arrives. */
static void windows(void) {
    static const uint32_t sizes[] = {100, 16384, 65535, 1000000};
    for (unsigned c = 0; c < 4; c++)
        for (unsigned t = 0; t < 4; t++) {
            nghttp2_settings_entry client_set = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, sizes[c]};
            nghttp2_settings_entry target_set = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, sizes[t]};
            begin_with(&client_set, 1, &target_set, 1);
            for (int32_t i = 0; i < 10; i++)
                twin_ask(&client, "/big", whose[i % 5], (size_t)(i < 5 ? 300000 : 20000), false);
            move();
            for (int32_t i = 0; i < 10; i++)
                twin_expect(&client, 1 + 2 * i, from[i % 5], (size_t)(i < 5 ? 300000 : 20000));
            for (int32_t i = 0; i < 10; i++) /* and again, in what the first ones left of them */
                twin_ask(&client, "/big", whose[i % 5], 100000, true);
            move();
            for (int32_t i = 10; i < 20; i++)
                twin_expect(&client, 1 + 2 * i, from[i % 5], 100000);
            finish();
        }
}

/* The target uses the client's whole window in one frame; of which an app has used some, less than the client repays. */
static void large_frames(void) {
    for (size_t split = 0; split < 20000; split = split * 5 + 999) {
        nghttp2_settings_entry client_set = {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 1000000};
        begin_with(&client_set, 1, NULL, 0);
        target.split = split;
        for (int32_t i = 0; i < 12; i++) {
            twin_ask(&client, "/big", whose[i % 3], (size_t)(i % 3 ? 10000 : 200000), i % 2);
            if (i % 4)
                move();
        }
        move();
        for (int32_t i = 0; i < 12; i++)
            twin_expect(&client, 1 + 2 * i, from[i % 3], (size_t)(i % 3 ? 10000 : 200000));
        finish();
    }
}

/* gRPC's bidirectional stream: each message is answered before the next one is said. */
static void streaming(void) {
    begin();
    int32_t ids[2];
    for (unsigned k = 0; k < 2; k++) {
        ids[k] = twin_ask(&client, "/svc/Chat", k ? "anna" : NULL, 10, true);
        twin_seen(&client, ids[k])->streams = true;
    }
    for (size_t n = 10; n <= 1000; n += 10)
        for (unsigned k = 0; k < 2; k++) {
            struct seen *s = twin_seen(&client, ids[k]);
            s->size = n;
            nghttp2_session_resume_data(client.session, ids[k]);
            move();
            EXPECT(s->body.n == n && !s->ended);
        }
    for (unsigned k = 0; k < 2; k++) {
        twin_seen(&client, ids[k])->last = true;
        nghttp2_session_resume_data(client.session, ids[k]);
        move();
        twin_expect(&client, ids[k], k ? "anna" : "target", 1000);
    }
    finish();
}

static void pings_and_resets_pass(void) {
    begin();
    twin_ask(&client, "/a", "anna", 5, false);
    move();
    nghttp2_submit_ping(client.session, 0, (const uint8_t *)"abcdefgh");
    move();
    EXPECT(client.pings == 1 && target.pinged == 0 && app.pinged == 0); /* about an app's octets */
    client.pings = 0;
    twin_ask(&client, "/t", NULL, 5, false);
    move();
    nghttp2_submit_ping(client.session, 0, (const uint8_t *)"abcdefgh");
    nghttp2_submit_ping(target.session, 0, (const uint8_t *)"ijklmnop");
    move();
    EXPECT(client.pings == 1 && target.pinged == 1 && target.pings == 1 && app.pinged == 0);
    int32_t ids[2];
    for (unsigned k = 0; k < 2; k++) {
        ids[k] = twin_ask(&client, "/svc/Chat", k ? "anna" : NULL, 10, true);
        twin_seen(&client, ids[k])->streams = true;
        move();
        nghttp2_submit_rst_stream(client.session, 0, ids[k], NGHTTP2_CANCEL);
        move();
        struct seen *s = twin_seen(k ? &app : &target, ids[k]);
        EXPECT(s->reset && s->code == NGHTTP2_CANCEL);
    }
    for (unsigned k = 0; k < 2; k++) {
        ids[k] = twin_ask(&client, "/svc/Chat", k ? "anna" : NULL, 10, true);
        twin_seen(&client, ids[k])->streams = true;
        move();
        nghttp2_submit_rst_stream((k ? &app : &target)->session, 0, ids[k], NGHTTP2_NO_ERROR);
        move();
        EXPECT(twin_seen(&client, ids[k])->reset && twin_seen(&client, ids[k])->code == 0);
    }
    int32_t id = twin_ask(&client, "/t", NULL, 5, false);
    move();
    twin_expect(&client, id, "target", 5);
    finish();
}

static void refused(void) {
    begin();
    y.accept_at_once = false;
    int32_t first = twin_ask(&client, "/a", "anna", 70, true);
    int32_t second = twin_ask(&client, "/a", "anna", 0, false);
    move();
    EXPECT(y.asks[APP] == 1 && !twin_seen(&target, first)->began);
    y.asked[APP] = false;
    exchange_refused(y.x, APP, y.now);
    move();
    twin_expect(&client, first, "target", 70);
    twin_expect(&client, second, "target", 0);
    int32_t third = twin_ask(&client, "/a", "anna", 0, false);
    int32_t fourth =
        twin_ask(&client, "/t", NULL, 0, false); /* the third is too old for the target then */
    move();
    y.asked[APP] = false;
    exchange_refused(y.x, APP, y.now);
    move();
    EXPECT(twin_seen(&client, third)->reset &&
           twin_seen(&client, third)->code == NGHTTP2_REFUSED_STREAM);
    twin_expect(&client, fourth, "target", 0);
    finish();
}

/* The app is lost with one stream unanswered and one in the middle of its answer. */
static void app_lost(uint8_t policy, int how) {
    begin();
    y.rules.slot[0].on_app_gone = policy;
    int32_t half = twin_ask(&client, "/a", "anna", 10, true);
    twin_seen(&client, half)->streams = true;
    int32_t other = twin_ask(&client, "/t", NULL, 10, true);
    twin_seen(&client, other)->streams = true;
    move();
    app.silent = true;
    int32_t none = twin_ask(&client, "/a", "anna", 10, false);
    move();
    if (how == 0) {
        play_ends(&y, APP);
    } else if (how == 1) {
        y.asked[APP] = false;
        exchange_reset(y.x, APP, y.now);
    } else {
        exchange_link(y.x, 0, false, y.now);
        EXPECT(exchange_deadline(y.x) == y.now + 5000);
        exchange_tick(y.x, y.now + 4999);
        EXPECT(y.cuts[APP] == 0);
        exchange_tick(y.x, y.now + 5000);
        EXPECT(y.cuts[APP] == 1);
    }
    twin_free(&app);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    move();
    struct seen *s = twin_seen(&client, half);
    EXPECT(s->reset && s->code == NGHTTP2_INTERNAL_ERROR);
    s = twin_seen(&client, none);
    if (policy == EXCHANGE_GONE_502)
        EXPECT(s->ended && !s->reset && memcmp(s->fields.p, ":status: 502\n", 13) == 0);
    else
        EXPECT(s->reset && s->code == NGHTTP2_INTERNAL_ERROR);
    twin_seen(&client, other)->last = true;
    nghttp2_session_resume_data(client.session, other);
    exchange_link(y.x, 0, true, y.now);
    int32_t again = twin_ask(&client, "/a", "anna", 10, false);
    move();
    twin_expect(&client, other, "target", 10);
    twin_expect(&client, again, "anna", 10);
    EXPECT(y.asks[APP] == 2);
    finish();
}

static void lost_apps(void) {
    for (int how = 0; how < 3; how++)
        for (uint8_t policy = EXCHANGE_GONE_TARGET; policy <= EXCHANGE_GONE_RESET; policy++)
            app_lost(policy, how);
}

/* --- what is asked of the target in the place of an app that did not begin it, or may be asked of another ---------------- */

/* The app loses its connection. */
static void lose_app(int how) {
    if (how == 0) {
        play_ends(&y, APP);
    } else if (how == 1) {
        y.asked[APP] = false;
        exchange_reset(y.x, APP, y.now);
    } else {
        exchange_link(y.x, 0, false, y.now);
        exchange_tick(y.x, y.now + 5000);
    }
    twin_free(&app);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    move();
}

static void resets(int32_t id, uint32_t code) {
    struct seen *s = twin_seen(&client, id);
    EXPECT(s->reset && s->code == code);
}

/* A safe request without a word of an answer. The target has it under its own number, so not after a higher one. */
static void safe_requests(void) {
    for (int how = 0; how < 3; how++)
        for (uint8_t policy = EXCHANGE_GONE_TARGET; policy <= EXCHANGE_GONE_RESET; policy++) {
            begin();
            y.rules.slot[0].on_app_gone = policy;
            app.silent = true;
            int32_t old = twin_ask(&client, "/a", "anna", 0, false);
            int32_t targets = twin_ask(&client, "/t", NULL, 0, false);
            int32_t young = twin_ask(&client, "/a", "anna", 0, false);
            int32_t unsafe = twin_ask(&client, "/a", "anna", 10, false);
            move();
            EXPECT(twin_seen(&app, young)->ended && twin_seen(&app, unsafe)->ended);
            lose_app(how);
            twin_expect(&client, targets, "target", 0);
            if (policy == EXCHANGE_GONE_TARGET) {
                twin_expect(&client, young, "target", 0);
                resets(old, NGHTTP2_REFUSED_STREAM);
                resets(unsafe, NGHTTP2_INTERNAL_ERROR);
            } else if (policy == EXCHANGE_GONE_502) {
                EXPECT(memcmp(twin_seen(&client, young)->fields.p, ":status: 502\n", 13) == 0);
            } else {
                resets(young, NGHTTP2_INTERNAL_ERROR);
            }
            exchange_link(y.x, 0, true, y.now);
            int32_t again = twin_ask(&client, "/a", "anna", 10, true);
            move();
            twin_expect(&client, again, "anna", 10);
            finish();
        }
}

/* Of any method, whatever the session says: the app has said itself that it did not begin them. A body that was repaid to the
 * client in the target's stead the target could not be given. */
static void not_begun(void) {
    for (unsigned how = 0; how < 2; how++) {
        begin();
        y.rules.slot[0].on_app_gone = EXCHANGE_GONE_RESET;
        int32_t open = twin_ask(&client, "/a", "anna", 10, true);
        twin_seen(&client, open)->streams = true;
        move();
        app.silent = true;
        int32_t body = twin_ask(&client, "/a", "anna", 10, false);
        int32_t none = twin_ask(&client, "/a", "anna", 0, false);
        move();
        if (how == 0) {
            nghttp2_submit_goaway(app.session, 0, open, NGHTTP2_NO_ERROR, NULL, 0);
        } else {
            nghttp2_submit_rst_stream(app.session, 0, body, NGHTTP2_REFUSED_STREAM);
            nghttp2_submit_rst_stream(app.session, 0, none, NGHTTP2_REFUSED_STREAM);
        }
        move();
        twin_expect(&client, none, "target", 0);
        resets(body, NGHTTP2_REFUSED_STREAM);
        app.silent = false;
        twin_seen(&client, open)->last = true;
        nghttp2_session_resume_data(client.session, open);
        move();
        twin_expect(&client, open, "anna", 10);
        finish();
    }
}

/* The app goes while the client is in the middle of a frame for the target; what the client then says of the stream is the
 * target's too, and what it had granted. */
static void within_a_frame(void) {
    begin();
    app.silent = true;
    int32_t chat = twin_ask(&client, "/svc/Chat", NULL, 10, true);
    twin_seen(&client, chat)->streams = true;
    int32_t id = twin_ask(&client, "/a", "anna", 0, false);
    move();
    nghttp2_submit_window_update(client.session, 0, id, 100000);
    move();
    twin_seen(&client, chat)->size += 5000;
    nghttp2_session_resume_data(client.session, chat);
    const uint8_t *p;
    ssize_t n = nghttp2_session_mem_send(client.session, &p);
    EXPECT(n > 5000);
    play_says(&y, CLIENT, p, 3000);
    play_ends(&y, APP);
    EXPECT(!twin_seen(&target, id)->began);
    play_says(&y, CLIENT, p + 3000, (size_t)n - 3000);
    twin_free(&app);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    nghttp2_submit_window_update(client.session, 0, id, 1000);
    target.silent = true;
    move();
    EXPECT(twin_seen(&target, id)->ended);
    EXPECT(nghttp2_session_get_stream_remote_window_size(target.session, id) ==
           65535 + 100000 + 1000);
    target.silent = false;
    twin_seen(&client, chat)->last = true;
    nghttp2_session_resume_data(client.session, chat);
    move();
    EXPECT(twin_seen(&client, chat)->body.n == 5010 && twin_seen(&client, chat)->ended);
    finish();
}

static void app_goes_away(void) {
    begin();
    int32_t open = twin_ask(&client, "/a", "anna", 10, true);
    twin_seen(&client, open)->streams = true;
    move();
    nghttp2_submit_goaway(app.session, 0, open, NGHTTP2_NO_ERROR, NULL, 0);
    move();
    int32_t next = twin_ask(&client, "/a", "anna", 10, false); /* meanwhile the target's */
    move();
    twin_expect(&client, next, "target", 10);
    twin_seen(&client, open)->last = true;
    nghttp2_session_resume_data(client.session, open);
    move();
    twin_expect(&client, open, "anna", 10);
    EXPECT(y.cuts[APP] == 1);
    finish();
}

/* Padding counts against windows, and no app takes it: a stream of a hundred windows of it does not starve. */
static ssize_t pad(nghttp2_session *session, const nghttp2_frame *frame, size_t most, void *user) {
    (void)session, (void)user;
    size_t n = frame->hd.length + 1 + frame->hd.length % 3 * 100;
    return (ssize_t)(n < most ? n : most);
}

static void padding(void) {
    begin();
    twin_free(&client);
    twin_client_padded(&client, &y, pad);
    for (int32_t i = 0; i < 10; i++)
        twin_ask(&client, "/p", whose[i % 5], 300000, i % 2);
    move();
    for (int32_t i = 0; i < 10; i++)
        twin_expect(&client, 1 + 2 * i, from[i % 5], 300000);
    finish();
}

/* A slow app holds its own streams alone. */
static void slow_app(void) {
    begin();
    twin_ask(&client, "/a", "anna", 0, false);
    move();
    y.backlog[APP] = EXCHANGE_BACKLOG;
    int32_t slow = twin_ask(&client, "/a", "anna", 200000, false);
    int32_t other = twin_ask(&client, "/t", NULL, 200000, false);
    move();
    twin_expect(&client, other, "target", 200000);
    EXPECT(!twin_seen(&app, slow)->began);
    y.backlog[APP] = 0;
    exchange_room(y.x, APP, y.now);
    move();
    twin_expect(&client, slow, "anna", 200000);
    finish();
}

static void ends(void) {
    begin(); /* untouched: the target's */
    twin_ask(&client, "/t", NULL, 0, false);
    move();
    play_ends(&y, TARGET);
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_ENDED);
    finish();

    begin(); /* the target ends while an app answers */
    int32_t id = twin_ask(&client, "/a", "anna", 10, true);
    twin_seen(&client, id)->streams = true;
    move();
    play_ends(&y, TARGET);
    EXPECT(!y.ended[CLIENT]);
    twin_seen(&client, id)->last = true;
    nghttp2_session_resume_data(client.session, id);
    move();
    twin_expect(&client, id, "anna", 10);
    EXPECT(y.ended[CLIENT] && y.ended[TARGET]);
    play_ends(&y, CLIENT);
    EXPECT(exchange_over(y.x));
    finish();

    begin(); /* the client's end */
    twin_ask(&client, "/a", "anna", 10, false);
    move();
    play_ends(&y, CLIENT);
    EXPECT(y.ended[TARGET] && !exchange_over(y.x));
    play_ends(&y, TARGET);
    EXPECT(y.ended[CLIENT] && exchange_over(y.x));
    finish();

    begin();
    twin_ask(&client, "/a", "anna", 10, false);
    move();
    exchange_reset(y.x, TARGET, y.now);
    EXPECT(y.cuts[CLIENT] == 1 && exchange_over(y.x));
    finish();
}

static void drained(void) {
    begin();
    twin_ask(&client, "/t", NULL, 0, false);
    move();
    exchange_drain(y.x, y.now);
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_DRAINED);
    finish();

    begin();
    int32_t id = twin_ask(&client, "/a", "anna", 10, true);
    twin_seen(&client, id)->streams = true;
    move();
    exchange_drain(y.x, y.now);
    move();
    EXPECT(nghttp2_session_check_request_allowed(client.session) == 0); /* it was told GOAWAY */
    twin_seen(&client, id)->last = true;
    nghttp2_session_resume_data(client.session, id);
    move();
    twin_expect(&client, id, "anna", 10);
    finish();
}

static void the_target_speaks_first(void) {
    begin();
    const uint8_t *p;
    ssize_t n = nghttp2_session_mem_send(target.session, &p);
    for (ssize_t i = 0; i < n; i++)
        play_says(&y, TARGET, p + i, 1);
    EXPECT(y.raw < 0 && y.told[CLIENT].n == (size_t)n);
    int32_t id = twin_ask(&client, "/a", "anna", 10, false);
    move();
    twin_expect(&client, id, "anna", 10);
    finish();

    begin();
    n = nghttp2_session_mem_send(target.session, &p);
    play_says(&y, TARGET, p, (size_t)n);
    play_text(&y, CLIENT, "GET / HTTP/1.1\r\n\r\n");
    EXPECT(y.raw == TARGET);
    TOLD(&y, TARGET, "GET / HTTP/1.1\r\n\r\n");
    finish();
}

/* Broken before anything was taken: the target's, octet for octet. */
static void broken(void) {
    static const struct {
        const char *p;
        size_t n;
    } frames[] = {
        {"\0\0\1\1\5\0\0\0\1\xff", 10},                   /* an index that is not there */
        {"\0\0\1\1\x0d\0\0\0\1\x09", 10},                 /* padding over the length */
        {"\0\0\0\x09\4\0\0\0\1", 9},                      /* CONTINUATION of nothing */
        {"\0\0\1\1\1\0\0\0\1\x82\0\0\0\0\0\0\0\0\1", 19}, /* DATA within a block */
        {"\0\0\4\5\4\0\0\0\1\0\0\0\2", 13},               /* a client's PUSH_PROMISE */
    };
    for (unsigned i = 0; i < sizeof frames / sizeof *frames; i++) {
        begin();
        struct octets sent = {0};
        octets_add(&sent, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        octets_add(&sent, "\0\0\0\4\0\0\0\0\0", 9);
        octets_add(&sent, "\0\0\5\x77\x55\0\0\0\3extra", 14); /* unknown: passed */
        octets_add(&sent, frames[i].p, frames[i].n);
        for (size_t at = 0; at < sent.n; at++)
            play_says(&y, CLIENT, sent.p + at, 1);
        EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_MALFORMED);
        EXPECT(play_told(&y, TARGET, sent.p, sent.n));
        free(sent.p);
        finish();
    }
}

static const struct test tests[] = {
    TEST(octet_for_octet),
    TEST(each_stream_to_its_party),
    TEST(fields_as_they_were),
    TEST(authority_is_the_host),
    TEST(header_tables),
    TEST(windows),
    TEST(large_frames),
    TEST(streaming),
    TEST(pings_and_resets_pass),
    TEST(refused),
    TEST(lost_apps),
    TEST(safe_requests),
    TEST(not_begun),
    TEST(within_a_frame),
    TEST(app_goes_away),
    TEST(slow_app),
    TEST(padding),
    TEST(ends),
    TEST(drained),
    TEST(the_target_speaks_first),
    TEST(broken),
};
CHECK_MAIN(tests)
