/* HTTP/1 through the exchange, as transcripts: who is told what, and when. */
#include "agent/http/filter.h"
#include "play.h"

#define ANNA    "Host: cart\r\nx-for: anna\r\n"
#define BERT    "Host: cart\r\nx-for: bert\r\n"
#define TO_APP  "GET /a HTTP/1.1\r\n" ANNA "\r\n"
#define TO_APP2 "GET /b HTTP/1.1\r\n" BERT "\r\n"
#define OTHER   "GET /t HTTP/1.1\r\nHost: cart\r\n\r\n"
#define OK2     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

static struct play y;

static void begin(const char *rule) {
    play_begin(&y);
    play_rule(&y, rule);
}

static void begin_anna(void) {
    begin("H:^x-for: anna$");
}

static void each_to_its_party(void) {
    begin_anna();
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, TARGET, OTHER);
    play_text(&y, TARGET, OK2 "t1");
    TOLD(&y, CLIENT, OK2 "t1");
    play_text(&y, CLIENT, TO_APP);
    TOLD(&y, APP, TO_APP);
    TOLD(&y, TARGET, "");
    EXPECT_TEXT(y.line, "GET /a HTTP/1.1");
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, CLIENT, OK2 "a1");
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, TARGET, OTHER);
    EXPECT(y.seen == 3 && y.matched == 1 && y.asks[APP] == 1);
    play_end(&y);
}

/* Head and body that came together leave together: a send for each would be a segment for each. */
static void one_send_for_what_came_at_once(void) {
    static const char put[] = "PUT /t HTTP/1.1\r\nHost: cart\r\nContent-Length: 4\r\n\r\n";
    begin_anna();
    for (unsigned n = 1; n < 4; n++) {
        play_text(&y, CLIENT, OTHER);
        TOLD(&y, TARGET, OTHER);
        play_text(&y, TARGET, OK2 "t1");
        TOLD(&y, CLIENT, OK2 "t1");
        EXPECT(y.sends[TARGET] == n && y.sends[CLIENT] == n);
    }
    play_says(&y, CLIENT, put, sizeof put - 1);
    TOLD(&y, TARGET, put); /* a body that is still to come is not waited for */
    play_text(&y, CLIENT, "body");
    TOLD(&y, TARGET, "body");
    play_text(&y, TARGET, OK2);
    TOLD(&y, CLIENT, OK2);
    play_text(&y, TARGET, "t2");
    TOLD(&y, CLIENT, "t2");
    EXPECT(y.sends[TARGET] == 5 && y.sends[CLIENT] == 5);
    play_text(&y, CLIENT, "PUT /t HTTP/1.1\r\nHost: cart\r\nContent-Length: 4\r\n\r\nbody");
    EXPECT(y.sends[TARGET] == 6);
    play_end(&y);
}

/* The order of answers is the order of requests, though the parties' speeds differ. */
static void pipelined_across_parties(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP OTHER TO_APP);
    TOLD(&y, APP, TO_APP);
    TOLD(&y, TARGET, "");
    play_text(&y, APP, OK2 "a");
    TOLD(&y, CLIENT, OK2 "a");
    TOLD(&y, TARGET, "");
    play_text(&y, APP, "1");
    TOLD(&y, CLIENT, "1");
    TOLD(&y, TARGET, OTHER);
    TOLD(&y, APP, "");
    play_text(&y, TARGET, OK2 "t1");
    TOLD(&y, CLIENT, OK2 "t1");
    TOLD(&y, APP, TO_APP);
    play_end(&y);
}

static void no_is_forwarded_before_the_head_ends(void) {
    begin("P:^/cart\nH:^x-for: anna$");
    play_text(&y, CLIENT, "GET /t HTTP/1.1\r");
    TOLD(&y, TARGET, "");
    play_text(&y, CLIENT, "\nHost: ca");
    TOLD(&y, TARGET, "GET /t HTTP/1.1\r\n");
    play_text(&y, CLIENT, "rt\r\nx-f");
    TOLD(&y, TARGET, "Host: cart\r\n");
    play_text(&y, CLIENT, "or: anna\r\n\r\nGET /cart HTTP/1.1\r\nHost: cart\r\nX");
    TOLD(&y, TARGET, "x-for: anna\r\n\r\n");
    play_text(&y, TARGET, OK2 "t1");
    play_text(&y, CLIENT, "-For: anna\r\n\r\n");
    TOLD(&y, APP, "GET /cart HTTP/1.1\r\nHost: cart\r\nX-For: anna\r\n\r\n");
    play_end(&y);
}

static void two_sessions_in_order_of_age(void) {
    begin("H:^x-for: (anna|both)$");
    play_rule(&y, "H:^x-for: (bert|both)$");
    y.rules.order[0] = 1; /* the second slot's session is the older one */
    y.rules.order[1] = 0;
    static const char both[] = "GET /c HTTP/1.1\r\nHost: c\r\nx-for: both\r\n\r\n";
    play_text(&y, CLIENT, TO_APP);
    TOLD(&y, APP, TO_APP);
    play_text(&y, APP, OK2 "a1");
    play_text(&y, CLIENT, TO_APP2);
    TOLD(&y, APP2, TO_APP2);
    play_text(&y, APP2, OK2 "b1");
    play_text(&y, CLIENT, both);
    TOLD(&y, APP2, both);
    TOLD(&y, APP, "");
    y.rules.slot[1].takes = false;
    play_text(&y, APP2, OK2 "b2");
    play_text(&y, CLIENT, both);
    TOLD(&y, APP, both);
    TOLD(&y, TARGET, "");
    play_end(&y);
}

/* The older session's filter is still open: the younger one's "yes" has to wait for it. */
static void an_older_open_filter_is_waited_for(void) {
    begin("H:^x-for: anna$");
    play_rule(&y, "P:^/a$");
    play_text(&y, CLIENT, "GET /a HTTP/1.1\r\nHost: cart\r\n");
    EXPECT(y.asks[APP2] == 0);
    play_text(&y, CLIENT, "x-for: anna\r\n\r\n");
    TOLD(&y, APP, TO_APP);
    TOLD(&y, APP2, "");
    play_end(&y);
}

static void not_accepted_is_the_targets(void) {
    begin_anna();
    y.accept_at_once = false;
    play_text(&y, CLIENT, TO_APP "POST");
    EXPECT(y.asks[APP] == 1);
    TOLD(&y, TARGET, "");
    y.asked[APP] = false;
    exchange_refused(y.x, APP, y.now);
    play_move(&y);
    TOLD(&y, TARGET, TO_APP);
    EXPECT(y.seen == 1 && y.matched == 0);
    play_end(&y);
}

static void link_down_while_asked(void) {
    begin_anna();
    y.accept_at_once = false;
    play_text(&y, CLIENT, TO_APP);
    exchange_link(y.x, 0, false, y.now);
    play_move(&y);
    TOLD(&y, TARGET, TO_APP);
    EXPECT(y.cuts[APP] == 1);
    play_end(&y);
}

static void link_lost_for_a_while(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    exchange_link(y.x, 0, false, y.now);
    EXPECT(exchange_deadline(y.x) == y.now + 5000);
    exchange_link(y.x, 0, true, y.now + 4000);
    EXPECT(exchange_deadline(y.x) == EXCHANGE_NEVER);
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, CLIENT, OK2 "a1");
    play_end(&y);
}

static void link_lost_for_too_long(void) {
    for (uint8_t policy = EXCHANGE_GONE_TARGET; policy <= EXCHANGE_GONE_RESET; policy++) {
        begin_anna();
        y.rules.slot[0].on_app_gone = policy;
        play_text(&y, CLIENT, TO_APP);
        exchange_link(y.x, 0, false, y.now);
        exchange_tick(y.x, y.now + 4999);
        EXPECT(y.cuts[CLIENT] == 0 && !y.ended[CLIENT]);
        exchange_tick(y.x, y.now + 5000);
        EXPECT((y.cuts[CLIENT] == 1) == (policy == EXCHANGE_GONE_RESET));
        EXPECT(exchange_over(y.x) == (policy == EXCHANGE_GONE_RESET));
        if (policy == EXCHANGE_GONE_TARGET)
            TOLD(&y, TARGET, TO_APP);
        if (policy == EXCHANGE_GONE_502) {
            EXPECT(y.told[CLIENT].n > 30 &&
                   memcmp(y.told[CLIENT].p, "HTTP/1.1 502 Bad Gateway\r\n", 26) == 0);
            EXPECT(y.ended[CLIENT] && y.cuts[APP] == 1 && y.ended[TARGET]);
            play_ends(&y, CLIENT);
            EXPECT(exchange_over(y.x));
        }
        play_end(&y);
    }
}

static void app_goes(unsigned how) {
    if (how == 0)
        play_ends(&y, APP);
    else if (how == 1)
        exchange_reset(y.x, APP, y.now);
    else
        exchange_gone(y.x, 0, y.now);
    y.asked[APP] = false;
    play_move(&y);
}

/* As from a kept connection that was closed just then: a safe request, whole so far, is asked of the target. */
static void not_a_word_of_an_answer_is_the_targets(void) {
    for (unsigned how = 0; how < 3; how++) {
        begin_anna();
        play_text(&y, CLIENT,
                  "GET / HTTP/1.1\r\nx-for: anna\r\nHost: c\r\nContent-Length: 4\r\n\r\nab");
        app_goes(how);
        TOLD(&y, TARGET, "GET / HTTP/1.1\r\nx-for: anna\r\nHost: c\r\nContent-Length: 4\r\n\r\nab");
        play_text(&y, CLIENT, "cd" OTHER);
        TOLD(&y, TARGET, "cd" OTHER);
        play_text(&y, TARGET, OK2 "t1" OK2 "t2");
        TOLD(&y, CLIENT, OK2 "t1" OK2 "t2");
        if (how < 2) {
            play_forget(&y);
            play_text(&y, CLIENT, TO_APP);
            EXPECT(y.asks[APP] == 2);
        }
        play_end(&y);
    }
}

static void what_may_not_be_repeated_is_cut(void) {
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\nx-for: anna\r\nHost: c\r\nContent-Length: 0\r\n\r\n", TO_APP TO_APP};
    for (unsigned i = 0; i < 2; i++) {
        begin_anna();
        play_text(&y, CLIENT, requests[i]);
        app_goes(1);
        EXPECT(y.cuts[CLIENT] == 1);
        TOLD(&y, TARGET, "");
        play_end(&y);
    }
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    play_text(&y, APP, "HTTP/1.1 100 Continue\r\n\r\n");
    app_goes(1);
    EXPECT(y.cuts[CLIENT] == 1);
    play_end(&y);
}

/* What is the connection's last request is the target's with all that follows. */
static void a_last_request_is_asked_again_too(void) {
    static const char last[] =
        "GET / HTTP/1.1\r\nx-for: anna\r\nHost: c\r\nConnection: close\r\n\r\n";
    for (unsigned half = 0; half < 2; half++) {
        begin_anna();
        play_text(&y, CLIENT, half ? TO_APP : last);
        if (half)
            play_ends(&y, CLIENT);
        app_goes(1);
        EXPECT(y.raw == TARGET);
        TOLD(&y, TARGET, half ? TO_APP : last);
        play_end(&y);
    }
}

static void app_dies_in_the_middle_of_an_answer(void) {
    for (unsigned how = 0; how < 2; how++) {
        begin_anna();
        y.rules.slot[0].on_app_gone = EXCHANGE_GONE_502;
        play_text(&y, CLIENT, TO_APP);
        play_text(&y, APP, OK2 "a");
        TOLD(&y, CLIENT, OK2 "a");
        if (how == 0)
            play_ends(&y, APP);
        else
            exchange_reset(y.x, APP, y.now);
        EXPECT(y.cuts[CLIENT] == 1 && exchange_over(y.x));
        play_end(&y);
    }
}

static void app_closed_between_requests(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    play_text(&y, APP, OK2 "a1");
    play_ends(&y, APP);
    EXPECT(!y.asked[APP] && !y.ended[CLIENT]);
    play_forget(&y);
    play_text(&y, CLIENT, TO_APP);
    EXPECT(y.asks[APP] == 2);
    TOLD(&y, APP, TO_APP);
    play_text(&y, APP, OK2 "a2");
    exchange_reset(y.x, APP, y.now);
    y.asked[APP] = false;
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, TARGET, OTHER);
    play_end(&y);
}

static void app_says_what_nobody_asked(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    play_text(&y, APP, OK2 "a1HTTP/1.1 408 Request Timeout\r\n");
    TOLD(&y, CLIENT, OK2 "a1");
    EXPECT(y.cuts[APP] == 1);
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, TARGET, OTHER);
    play_end(&y);
}

static void answers_until_the_end(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP OTHER);
    play_text(&y, APP, "HTTP/1.0 200 OK\r\n\r\nhello");
    TOLD(&y, CLIENT, "HTTP/1.0 200 OK\r\n\r\nhello");
    EXPECT(!y.ended[CLIENT]);
    play_ends(&y, APP);
    EXPECT(y.ended[CLIENT] && y.ended[TARGET]);
    EXPECT(exchange_deadline(y.x) == y.now + 5000);
    TOLD(&y, TARGET, "");
    play_ends(&y, CLIENT);
    EXPECT(exchange_over(y.x));
    play_end(&y);
}

static void the_targets_last_answer_is_spliced(void) {
    begin_anna();
    play_text(&y, CLIENT, OTHER);
    play_text(&y, TARGET, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r");
    EXPECT(y.raw < 0);
    play_text(&y, TARGET, "\nhello");
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_LAST);
    TOLD(&y, CLIENT, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
    play_end(&y);
}

static void a_last_request(void) {
    static const char other[] = "GET /t HTTP/1.0\r\n\r\n";
    static const char ours[] = "GET /a HTTP/1.1\r\n" ANNA "Connection: close\r\n\r\n";
    begin_anna();
    play_text(&y, CLIENT, other);
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_LAST && y.seen == 1);
    TOLD(&y, TARGET, other);
    play_end(&y);

    begin_anna();
    play_text(&y, CLIENT, ours);
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, APP, ours);
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, CLIENT, OK2 "a1");
    TOLD(&y, TARGET, "");
    EXPECT(y.ended[CLIENT] && y.ended[APP] && y.ended[TARGET]);
    exchange_tick(y.x, y.now + 5000);
    EXPECT(exchange_over(y.x));
    play_end(&y);
}

#define WS       "GET /ws HTTP/1.1\r\n" ANNA "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define WS_OTHER "GET /ws HTTP/1.1\r\nHost: c\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
#define SWITCH                                                                                     \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

static void upgraded(void) {
    for (unsigned ours = 0; ours < 2; ours++) {
        unsigned party = ours ? APP : TARGET;
        begin_anna();
        play_text(&y, CLIENT, ours ? WS "\x81\x85" : WS_OTHER "\x81\x85");
        TOLD(&y, party, ours ? WS : WS_OTHER);
        play_text(&y, party, SWITCH "\x81\x02hi");
        EXPECT(y.raw == (int)party && y.why == EXCHANGE_WHY_UPGRADED);
        TOLD(&y, party, "\x81\x85");
        TOLD(&y, CLIENT, SWITCH "\x81\x02hi");
        play_end(&y);
    }
}

static void upgrade_declined(void) {
    begin_anna();
    play_text(&y, CLIENT, WS_OTHER TO_APP);
    TOLD(&y, TARGET, WS_OTHER);
    play_text(&y, TARGET, OK2 "t1");
    TOLD(&y, APP, TO_APP);
    play_end(&y);
}

static void connected(void) {
    static const char connect[] = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
    begin_anna();
    play_text(&y, CLIENT, connect);
    play_text(&y, CLIENT, "\x16\x03\x01");
    TOLD(&y, TARGET, connect);
    play_text(&y, TARGET, "HTTP/1.1 200 Connected\r\nContent-Length: 5\r\n\r\n");
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_UPGRADED);
    TOLD(&y, TARGET, "\x16\x03\x01");
    play_end(&y);
}

static void continued(void) {
    static const char head[] =
        "POST /a HTTP/1.1\r\n" ANNA "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n";
    begin_anna();
    play_text(&y, CLIENT, head);
    TOLD(&y, APP, head);
    play_text(&y, APP, "HTTP/1.1 100 Continue\r\n\r\n");
    TOLD(&y, CLIENT, "HTTP/1.1 100 Continue\r\n\r\n");
    play_text(&y, CLIENT, "abc" OTHER);
    TOLD(&y, APP, "abc");
    TOLD(&y, TARGET, "");
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, TARGET, OTHER);
    play_end(&y);
}

static void answered_before_the_body_came(void) {
    begin_anna();
    play_text(&y, CLIENT, "POST /a HTTP/1.1\r\n" ANNA "Content-Length: 4\r\n\r\nab");
    play_text(&y, APP, OK2 "no");
    TOLD(&y, CLIENT, OK2 "no");
    play_text(&y, CLIENT, "cd" OTHER);
    TOLD(&y, TARGET, OTHER);
    play_end(&y);
}

static void a_slow_client_holds_only_its_answers(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    y.backlog[CLIENT] = EXCHANGE_BACKLOG;
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, CLIENT, "");
    y.backlog[CLIENT] = 0;
    play_move(&y);
    TOLD(&y, CLIENT, OK2 "a1");
    y.backlog[APP] = EXCHANGE_BACKLOG;
    play_text(&y, CLIENT, OTHER);
    TOLD(&y, TARGET, OTHER);
    play_text(&y, TARGET, OK2 "t1");
    y.told[APP].n = 0;
    play_text(&y, CLIENT, TO_APP);
    TOLD(&y, APP, "");
    y.backlog[APP] = 0;
    play_move(&y);
    TOLD(&y, APP, TO_APP);
    play_end(&y);
}

static void the_target_speaks_first(void) {
    begin_anna();
    play_text(&y, TARGET, "220 mail ESMTP\r\n");
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_TARGET_FIRST);
    TOLD(&y, CLIENT, "220 mail ESMTP\r\n");
    play_end(&y);

    begin_anna(); /* its time-out, while a head is under way */
    play_text(&y, CLIENT, "GET /a HT");
    play_text(&y, TARGET, "HTTP/1.1 408 Request Timeout\r\n\r\n");
    TOLD(&y, CLIENT, "HTTP/1.1 408 Request Timeout\r\n\r\n");
    TOLD(&y, TARGET, "GET /a HT");
    play_end(&y);
}

static void the_target_ends_while_an_app_answers(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    play_ends(&y, TARGET);
    EXPECT(y.raw < 0);
    play_text(&y, APP, OK2 "a1");
    EXPECT(y.raw == TARGET && y.ended[CLIENT]);
    TOLD(&y, CLIENT, OK2 "a1");
    play_end(&y);

    begin_anna(); /* answered, but not yet told all */
    play_text(&y, CLIENT, "POST /a HTTP/1.1\r\n" ANNA "Content-Length: 4\r\n\r\nab");
    play_ends(&y, TARGET);
    play_text(&y, APP, OK2 "a1");
    EXPECT(y.raw < 0);
    play_text(&y, CLIENT, "cd");
    EXPECT(y.raw == TARGET && y.ended[CLIENT]);
    TOLD(&y, APP, "POST /a HTTP/1.1\r\n" ANNA "Content-Length: 4\r\n\r\nabcd");
    play_end(&y);

    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    exchange_reset(y.x, TARGET, y.now);
    EXPECT(y.cuts[CLIENT] == 0);
    play_text(&y, APP, OK2 "a1");
    EXPECT(y.ended[CLIENT] && !y.ended[TARGET]);
    play_end(&y);

    begin_anna();
    play_text(&y, CLIENT, OTHER);
    exchange_reset(y.x, TARGET, y.now);
    EXPECT(y.cuts[CLIENT] == 1);
    play_end(&y);
}

static void the_clients_end(void) {
    begin_anna(); /* between requests, and in the middle of a head */
    play_text(&y, CLIENT, OTHER "GET /a HT");
    play_forget(&y);
    play_ends(&y, CLIENT);
    EXPECT(y.raw == TARGET && y.ended[TARGET]);
    TOLD(&y, TARGET, "GET /a HT");
    play_end(&y);

    begin_anna(); /* before its answer */
    play_text(&y, CLIENT, TO_APP);
    play_ends(&y, CLIENT);
    EXPECT(y.ended[APP] && !y.ended[TARGET] && y.raw < 0);
    play_text(&y, APP, OK2 "a1");
    TOLD(&y, CLIENT, OK2 "a1");
    EXPECT(y.ended[CLIENT] && y.ended[TARGET] && exchange_over(y.x));
    play_end(&y);
}

/* A head of 64 KiB that never ends is the target's; so is the rest of what came while an app owed an answer. */
static void long_heads(void) {
    static char value[EXCHANGE_HEAD + 10];
    memset(value, 'v', sizeof value);
    begin_anna();
    play_text(&y, CLIENT, TO_APP "GET /long HTTP/1.1\r\n" ANNA "x: ");
    play_says(&y, CLIENT, value, sizeof value);
    TOLD(&y, APP, TO_APP);
    TOLD(&y, TARGET, "");
    EXPECT(y.raw < 0);
    play_text(&y, APP, OK2 "a1");
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_LONG);
    EXPECT(y.told[TARGET].n == strlen("GET /long HTTP/1.1\r\n" ANNA "x: ") + sizeof value);
    play_end(&y);
}

/* What cannot be delimited goes no further than the app that was given its beginning. */
static void bad_chunks(void) {
#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
    begin_anna();
    play_text(&y, CLIENT, "POST /a HTTP/1.1\r\n" ANNA CHUNKED "3\nabc\r\n" OTHER);
    TOLD(&y, APP, "POST /a HTTP/1.1\r\n" ANNA CHUNKED "3\nabc\r\n" OTHER);
    play_text(&y, APP, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    EXPECT(y.ended[CLIENT] && y.told[TARGET].n == 0);
    play_end(&y);

    begin_anna();
    play_text(&y, CLIENT, "POST /t HTTP/1.1\r\n" BERT CHUNKED "3\nabc\r\n" TO_APP);
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_MALFORMED);
    TOLD(&y, TARGET, "POST /t HTTP/1.1\r\n" BERT CHUNKED "3\nabc\r\n" TO_APP);
    play_end(&y);
}

static void drained(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    exchange_drain(y.x, y.now);
    exchange_tick(y.x, y.now += 5000);
    EXPECT(!y.ended[CLIENT]); /* it is waited for */
    play_text(&y, APP, OK2 "a1");
    play_forget(&y);
    y.now += 3000;
    play_text(&y, CLIENT, TO_APP); /* nothing more is stolen */
    TOLD(&y, TARGET, TO_APP);
    play_text(&y, TARGET, OK2 "t1");
    exchange_tick(y.x, y.now + 4999);
    EXPECT(!y.ended[CLIENT]);
    exchange_tick(y.x, y.now + 5000);
    EXPECT(y.ended[CLIENT] && y.ended[TARGET]);
    play_end(&y);

    begin_anna();
    exchange_drain(y.x, y.now);
    EXPECT(y.raw == TARGET && y.why == EXCHANGE_WHY_DRAINED);
    play_end(&y);
}

static void a_session_is_gone(void) {
    begin_anna();
    play_text(&y, CLIENT, TO_APP);
    play_text(&y, APP, OK2 "a1");
    exchange_gone(y.x, 0, y.now); /* idle */
    EXPECT(y.cuts[APP] == 1 && y.cuts[CLIENT] == 0);
    play_text(&y, CLIENT, TO_APP);
    play_text(&y, APP, OK2 "a"); /* in the middle of an answer */
    exchange_gone(y.x, 0, y.now);
    EXPECT(y.cuts[CLIENT] == 1 && exchange_over(y.x));
    play_end(&y);
}

/* What half a head matched of filters that are no more, says nothing. */
static void rules_change_within_a_head(void) {
    begin("P:^/a$\nH:^x-for: (anna|both)$");
    play_text(&y, CLIENT, "GET /a HTTP/1.1\r\nHost: cart\r\nx-for: anna\r\n");
    struct http_filter *old = (struct http_filter *)y.rules.slot[0].filter;
    y.rules.count = 0;
    play_rule(&y, "P:^/b$\nH:^x-for: anna$");
    y.rules.generation++;
    http_filter_free(old);
    play_text(&y, CLIENT, "\r\n");
    TOLD(&y, TARGET, TO_APP);
    play_text(&y, TARGET, OK2 "t1");
    play_text(&y, CLIENT, "GET /b HTTP/1.1\r\n" ANNA);
    y.rules.generation++;
    play_text(&y, CLIENT, "\r\n");
    TOLD(&y, APP, "GET /b HTTP/1.1\r\n" ANNA "\r\n");
    play_end(&y);
}

/* Many pipelined requests of one client: bounded, none lost. */
static void pipelined_deeply(void) {
    begin_anna();
    for (unsigned i = 0; i < 100; i++)
        play_text(&y, CLIENT, OTHER);
    EXPECT(y.told[TARGET].n == 32 * strlen(OTHER));
    for (unsigned i = 0; i < 100; i++)
        play_text(&y, TARGET, OK2 "t1");
    EXPECT(y.told[TARGET].n == 100 * strlen(OTHER) && y.raw < 0);
    EXPECT(y.told[CLIENT].n == 100 * strlen(OK2 "t1"));
    play_end(&y);
}

static const struct test tests[] = {
    TEST(each_to_its_party),
    TEST(one_send_for_what_came_at_once),
    TEST(pipelined_across_parties),
    TEST(no_is_forwarded_before_the_head_ends),
    TEST(two_sessions_in_order_of_age),
    TEST(an_older_open_filter_is_waited_for),
    TEST(not_accepted_is_the_targets),
    TEST(link_down_while_asked),
    TEST(link_lost_for_a_while),
    TEST(link_lost_for_too_long),
    TEST(not_a_word_of_an_answer_is_the_targets),
    TEST(what_may_not_be_repeated_is_cut),
    TEST(a_last_request_is_asked_again_too),
    TEST(app_dies_in_the_middle_of_an_answer),
    TEST(app_closed_between_requests),
    TEST(app_says_what_nobody_asked),
    TEST(answers_until_the_end),
    TEST(the_targets_last_answer_is_spliced),
    TEST(a_last_request),
    TEST(upgraded),
    TEST(upgrade_declined),
    TEST(connected),
    TEST(continued),
    TEST(answered_before_the_body_came),
    TEST(a_slow_client_holds_only_its_answers),
    TEST(the_target_speaks_first),
    TEST(the_target_ends_while_an_app_answers),
    TEST(the_clients_end),
    TEST(long_heads),
    TEST(bad_chunks),
    TEST(drained),
    TEST(a_session_is_gone),
    TEST(rules_change_within_a_head),
    TEST(pipelined_deeply),
};
CHECK_MAIN(tests)
