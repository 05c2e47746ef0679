/* Boundaries by transcripts: `>` the client sends, `<` the target. An entry is (sequence number, ACK, text). */
#include "agent/http_edge.h"
#include "native/fault.h"

#include <stdio.h>
#include <string.h>

static struct http_edge e;

static struct tcp_view view(uint32_t seq, uint32_t ack, const char *text) {
    return (struct tcp_view){.seq = seq,
                             .ack = ack,
                             .flags = TCP_FLAG_ACK,
                             .payload = (const uint8_t *)text,
                             .payload_len = strlen(text)};
}

static bool client(uint32_t seq, uint32_t ack, const char *text) {
    struct tcp_view t = view(seq, ack, text);
    bool begins = http_edge_begins(&e, &t);
    http_edge_client(&e, &t);
    return begins;
}

static void target(uint32_t seq, uint32_t ack, const char *text) {
    struct tcp_view t = view(seq, ack, text);
    http_edge_target(&e, &t, 0);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void keep_alive(void) {
    http_edge_begin(&e);
    CHECK(!client(100, 500, "the tail of a body"));
    target(500, 118, OK);
    CHECK(e.state == HTTP_EDGE_READY);
    target(517, 118, "a body that says HTTP/1.1 500 x");
    CHECK(client(118, 900, "GET / HTTP/1.1\r\n"));
    CHECK(e.state == HTTP_EDGE_WAITING);
    CHECK(!client(134, 900, "Host: x\r\n\r\n"));
    target(900, 145, OK);
    CHECK(client(145, 1000, "GET"));
}

static void not_all_is_acknowledged(void) {
    http_edge_begin(&e);
    client(100, 500, "0123456789");
    target(500, 105, OK);
    CHECK(e.state == HTTP_EDGE_WAITING);
    target(500, 110,
           OK); /* the same octets again, with a later ACK: sent after the target had it all */
    CHECK(e.state == HTTP_EDGE_READY);
}

static void an_answer_that_is_not_the_next_octet(void) {
    http_edge_begin(&e);
    client(100, 500, "0123456789");
    target(517, 110, OK); /* something before it is not known */
    CHECK(e.state == HTTP_EDGE_WAITING && !client(110, 600, "GET / HTTP/1.1\r\n"));
}

static void interim_answers(void) {
    http_edge_begin(&e);
    client(100, 500, "POST");
    target(500, 104, "HTTP/1.1 100 Continue\r\n\r\n");
    CHECK(e.state == HTTP_EDGE_WAITING && !client(104, 525, "GET / HTTP/1.1\r\n"));
    target(525, 120, "HTTP/1.1 103 Early Hints\r\n\r\n");
    CHECK(e.state == HTTP_EDGE_WAITING);
    target(553, 120, "HTTP/1.1 204 No Content\r\n\r\n");
    CHECK(e.state == HTTP_EDGE_READY);
}

static void an_upgrade(void) {
    http_edge_begin(&e);
    client(100, 500, "GET");
    target(500, 103, "HTTP/1.1 101 Switching Protocols\r\n");
    CHECK(e.state == HTTP_EDGE_NEVER);
    target(600, 103, OK);
    CHECK(e.state == HTTP_EDGE_NEVER && !client(103, 700, "GET / HTTP/1.1\r\n"));
}

static void other_protocols(void) {
    http_edge_begin(&e);
    for (uint32_t i = 0; i < HTTP_EDGE_DOUBTS; i++) {
        CHECK(e.state == HTTP_EDGE_WAITING);
        client(100 + i, 500 + i, "x");
        target(500 + i, 101 + i, "+");
        target(500 + i, 101 + i, "+"); /* repeated: counts once */
    }
    CHECK(e.state == HTTP_EDGE_NEVER);
    http_edge_begin(&e);
    client(100, 500, "x");
    target(500, 101, "\x17\x03\x03\x01\x02");
    CHECK(e.state == HTTP_EDGE_NEVER);
}

static void pipelining(void) {
    http_edge_begin(&e);
    client(100, 500, "GET 1");
    client(105, 500, "GET 2");
    target(500, 105, OK); /* to the first, before it had the second */
    CHECK(e.state == HTTP_EDGE_WAITING);
    client(110, 517, "GET 3");
    target(517, 115, OK); /* all three taken, none more sent: what comes next begins something */
    CHECK(e.state == HTTP_EDGE_READY);
    CHECK(!client(120, 600, "later octets first"));
    CHECK(!client(115, 600, "GET /"));
}

static void retransmissions(void) {
    http_edge_begin(&e);
    client(0xfffffff0u, 500, "0123456789abcdef");
    target(500, 0, OK);
    CHECK(e.state == HTTP_EDGE_READY);
    CHECK(!client(0xfffffff0u, 500, "0123456789abcdef"));
    CHECK(!client(0xffffffffu, 517, "f")); /* a probe */
    CHECK(e.state == HTTP_EDGE_READY);
    CHECK(client(0, 517, "GET / HTTP/1.1\r\n"));
}

/* Every proper prefix must ask for more, the whole must be `is`, and so must what only goes on behind it. */
static void line(const char *text, enum http_edge_line is) {
    size_t n = strlen(text);
    CHECK(http_edge_line((const uint8_t *)text, n) == is);
    if (is == HTTP_EDGE_REQUEST)
        for (size_t i = 0; i < n; i++)
            CHECK(http_edge_line((const uint8_t *)text, i) == HTTP_EDGE_MORE);
}

static void lines(void) {
    line("GET / HTTP/1.1\r\n", HTTP_EDGE_REQUEST);
    line("M-SEARCH * HTTP/1.0\r\n", HTTP_EDGE_REQUEST);
    line("POST /\xc3\xa4?q=%20 HTTP/1.1\r\n", HTTP_EDGE_REQUEST);
    CHECK(http_edge_line((const uint8_t *)"GET / HTTP/1.1\r\nHost:", 21) == HTTP_EDGE_REQUEST);
    line("PRI * HTTP/2.0\r\n", HTTP_EDGE_OTHER);
    line("GET /\r\n", HTTP_EDGE_OTHER);
    line("GET  / HTTP/1.1\r\n", HTTP_EDGE_OTHER);
    line("get / HTTP/1.1\r\n", HTTP_EDGE_OTHER);
    line("GET / HTTP/1.1\n", HTTP_EDGE_OTHER);
    line("GET / HTTP/1.2\r\n", HTTP_EDGE_OTHER);
    line("GET / HTTP/1.1 \r\n", HTTP_EDGE_OTHER);
    line(" GET / HTTP/1.1\r\n", HTTP_EDGE_OTHER);
    line("\x16\x03\x01", HTTP_EDGE_OTHER);
    line("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1\r\n", HTTP_EDGE_OTHER);
    static uint8_t longest[HTTP_EDGE_LINE + 16];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "GET /", 5);
    CHECK(http_edge_line(longest, HTTP_EDGE_LINE - 1) == HTTP_EDGE_MORE);
    CHECK(http_edge_line(longest, sizeof longest) == HTTP_EDGE_OTHER);
}

int main(void) {
    keep_alive();
    not_all_is_acknowledged();
    an_answer_that_is_not_the_next_octet();
    interim_answers();
    an_upgrade();
    other_protocols();
    pipelining();
    retransmissions();
    lines();
    puts("boundaries are where they are");
    return 0;
}
