/* Invariant: while no filter can match, what each side is told is, octet for octet, what the other said, whatever that is. With
 * filters that match, sessions of nghttp2 at all ends find no fault with what they are told (frames, windows, header tables), and
 * each stream that nobody ended early got its own body back from the party whose it is, its fields as they were.
 *
 * Input: the kind of play, then octets for either side, or steps: requests, bodies, resets, settings, windows, pings, pieces, a
 * slow party, lost apps and links.
 *
 * Sources: exchange tests/native/play.c tests/native/twins.c native/span.c native/msgpack.c native/fault.c */
#include "native/fault.h"
#include "tests/native/twins.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- octets ---------------------------------------------------------------------------------------------------------- */

static void same(const struct play *y, unsigned to, unsigned by, const struct octets *said) {
    CHECK(y->told[to].n <= said->n);
    CHECK(y->told[to].n == 0 || memcmp(y->told[to].p, said->p, y->told[to].n) == 0);
    if (y->raw < 0 && !exchange_over(y->x))
        CHECK(y->told[to].n + y->says[by].n == said->n);
}

/* `matches`: nothing is compared, but nothing may go wrong either. */
static void octets(const uint8_t *p, size_t n, bool matches) {
    struct play y;
    struct octets said[3] = {{0}, {0}, {0}};
    play_begin(&y);
    play_rule(&y, matches ? "M:." : "P:^nothing$");
    octets_add(&said[CLIENT], "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);
    play_says(&y, CLIENT, said[CLIENT].p, 33);
    for (const uint8_t *end = p + n; p < end && y.raw < 0 && !exchange_over(y.x);) {
        unsigned party = *p & 1 ? TARGET : *p & 2 ? APP : CLIENT;
        size_t part = *p >> 2;
        p++;
        part = part < (size_t)(end - p) ? part : (size_t)(end - p);
        if (party == APP && !y.accepted[APP])
            continue;
        octets_add(&said[party], p, part);
        play_says(&y, party, p, part);
        p += part;
        if (matches)
            continue;
        same(&y, TARGET, CLIENT, &said[CLIENT]);
        same(&y, CLIENT, TARGET, &said[TARGET]);
        CHECK(y.asks[APP] == 0);
    }
    play_end(&y);
    for (unsigned i = 0; i < 3; i++)
        free(said[i].p);
}

/* --- sessions -------------------------------------------------------------------------------------------------------- */

static struct play y;
static struct twin client, target, app;
static struct twin *all[] = {&client, &target, &app};
static bool early[TWIN_STREAMS]; /* its end may be any */
static unsigned count;
static uint32_t window;
static unsigned sets;
static size_t total; /* octets of bodies: a play is to be quick */

static void ask(uint8_t with, uint8_t more) {
    if (count >= 100 || !nghttp2_session_check_request_allowed(client.session))
        return;
    bool ours = with & 1;
    size_t body = (size_t)more * (with & 2 && total < 100000 ? 300 : 3);
    int32_t id = twin_ask(&client, ours ? "/ours" : "/t", ours ? "anna" : "bert", body, with & 4);
    total += body;
    for (unsigned k = 0; total > 4000 && k < 3; k++)
        if (all[k]->split > 0 && all[k]->split < 500)
            all[k]->split += 500;
    twin_seen(&client, id)->streams = (with & 8) && (more > 0 || (with & 4));
    early[id / 2] = false;
    count++;
}

static void proceed(uint8_t more, bool last) {
    if (count == 0)
        return;
    int32_t id = 1 + 2 * (int32_t)(more % count);
    struct seen *s = twin_seen(&client, id);
    if (!s->streams || s->last)
        return;
    s->size += last ? 0 : more;
    s->last |= last;
    nghttp2_session_resume_data(client.session, id);
}

static void reset(uint8_t with, uint8_t more) {
    if (count == 0)
        return;
    int32_t id = 1 + 2 * (int32_t)(more % count);
    struct twin *by = with % 3 == 0 ? &client : with % 3 == 1 ? &target : &app;
    if (nghttp2_session_find_stream(by->session, id) == NULL)
        return;
    early[id / 2] = true;
    nghttp2_submit_rst_stream(by->session, 0, id, with % 2 ? NGHTTP2_CANCEL : NGHTTP2_NO_ERROR);
}

/* Windows only grow: one that shrinks under what was sent makes nghttp2 itself reset the stream. */
static void set(uint8_t with, uint8_t more) {
    static const uint32_t tables[] = {0, 40, 200, 4096, 70000};
    nghttp2_settings_entry e = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, tables[more % 5]};
    if (with & 4)
        e = (nghttp2_settings_entry){NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window += more};
    if (sets++ < 20) /* more that are not acknowledged end the connection */
        nghttp2_submit_settings(all[with % 3]->session, 0, &e, 1);
}

static void renew_app(void) {
    for (unsigned i = 0; i < count; i++)
        early[(1 + 2 * i) / 2] |= twin_seen(&app, (int32_t)(1 + 2 * i))->began ||
                                  !twin_seen(&client, (int32_t)(1 + 2 * i))->ended;
    twin_free(&app);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    y.told[APP].n = 0;
}

static void lose(uint8_t with) {
    if (!y.asked[APP])
        return;
    y.rules.slot[0].on_app_gone = with % 3;
    if (with & 4) {
        exchange_link(y.x, 0, false, y.now);
        exchange_tick(y.x, y.now += 5000);
        exchange_link(y.x, 0, true, y.now);
    } else if (y.accepted[APP]) {
        y.asked[APP] = false;
        y.says[APP].n = 0;
        exchange_reset(y.x, APP, y.now);
    } else {
        y.asked[APP] = false;
        exchange_refused(y.x, APP, y.now);
    }
    renew_app();
}

static void step(uint8_t what, uint8_t with, uint8_t more) {
    switch (what % 12) {
    case 0:
    case 1:
    case 2:
        ask(with, more);
        break;
    case 3:
    case 4:
        proceed(more, with & 1);
        break;
    case 5:
        reset(with, more);
        break;
    case 6:
        set(with, more);
        break;
    case 7:
        nghttp2_submit_ping(all[with % 3]->session, 0, NULL);
        break;
    case 8:
        all[with % 3]->split = more > 0 && total > 4000 ? more + 500 : more;
        break;
    case 9:
        y.backlog[with % 3] = more & 1 ? EXCHANGE_BACKLOG : 0;
        if (!(more & 1))
            exchange_room(y.x, with % 3, y.now);
        break;
    case 10:
        y.accept_at_once = more & 1;
        break;
    default:
        lose(with);
    }
}

static void judge(void) {
    static const char *const names[] = {"target", "anna"};
    CHECK(client.going == 0 && target.going == 0 && app.going == 0);
    for (unsigned i = 0; i < count; i++) {
        int32_t id = 1 + 2 * (int32_t)i;
        struct seen *s = twin_seen(&client, id);
        if (early[id / 2])
            continue;
        bool ours = twin_seen(&app, id)->began;
        CHECK(!ours || !twin_seen(&target, id)->began);
        twin_expect(&client, id, names[ours], s->size);
    }
}

static void sessions(const uint8_t *p, size_t n) {
    play_begin(&y);
    play_rule(&y, "H:^x-for: anna$");
    twin_client(&client, &y, NULL, 0);
    twin_server(&target, &y, TARGET, "target", NULL, 0);
    twin_server(&app, &y, APP, "anna", NULL, 0);
    memset(early, 0, sizeof early);
    count = 0;
    total = sets = 0;
    window = 65535;
    for (; n >= 3; p += 3, n -= 3) {
        step(p[0], p[1], p[2]);
        if (p[0] & 0x80)
            twins_move(all, 3);
    }
    y.accept_at_once = true;
    for (unsigned k = 0; k < 3; k++) {
        y.backlog[k] = 0;
        exchange_room(y.x, k, y.now);
    }
    play_move(&y);
    for (unsigned i = 0; i < count; i++) {
        struct seen *s = twin_seen(&client, 1 + 2 * (int32_t)i);
        s->last = true;
        nghttp2_session_resume_data(client.session, 1 + 2 * (int32_t)i);
    }
    nghttp2_settings_entry wide = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1000000};
    for (unsigned k = 0; k < 3; k++)
        nghttp2_submit_settings(all[k]->session, 0, &wide, 1);
    twins_move(all, 3);
    CHECK(y.raw < 0);
    judge();
    for (unsigned k = 0; k < 3; k++)
        twin_free(all[k]);
    play_end(&y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    if (data[0] % 4 < 2)
        octets(data + 1, size - 1, data[0] % 4);
    else
        sessions(data + 1, size - 1);
    return 0;
}
