/* What the exchange alone costs: requests that no filter matches, and their answers, without a socket. */
#include "agent/gate/exchange.h"
#include "agent/http/filter.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 400000

static uint64_t octets;

static void send(void *shell, unsigned party, const void *p, size_t n) {
    (void)shell, (void)party, (void)p;
    octets += n;
}
static void party(void *shell, unsigned k) {
    (void)shell, (void)k;
    abort();
}
static void raw(void *shell, unsigned k, enum exchange_why why) {
    (void)shell, (void)k, (void)why;
    abort();
}
static void seen(void *shell, int slot, const char *line, size_t n) {
    (void)shell, (void)line, (void)n;
    if (slot >= 0)
        abort();
}
static size_t backlog(void *shell, unsigned k) {
    (void)shell, (void)k;
    return 0;
}

static const struct exchange_ops ops = {send, party, party, party, raw, seen, backlog, NULL};

static struct http_filter *filter(unsigned what, const char *regex) {
    uint8_t packed[256];
    struct pen w = pen_on(packed, sizeof packed);
    pen_mp_array(&w, 1);
    pen_mp_array(&w, 1);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, what);
    pen_mp_str(&w, regex);
    struct span s = span_of(packed, (size_t)(w.at - packed));
    return http_filter_read(&s, NULL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void take(struct exchange *x, unsigned from, const void *p, size_t n) {
    if (exchange_offer(x, from, p, n, false, 0) != n)
        abort();
}

static void http1(const char *name, const char *request, unsigned what, const char *regex) {
    static char answer[1200];
    size_t n = (size_t)snprintf(answer, sizeof answer,
                                "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 1024\r\nConnection: keep-alive\r\n\r\n");
    memset(answer + n, 'x', 1024);
    struct exchange_rules rules = {.count = 1};
    rules.slot[0] = (struct exchange_rule){.filter = filter(what, regex), .takes = true};
    struct exchange *x = exchange_new(&ops, NULL, &rules);
    double from = now();
    for (unsigned i = 0; i < ROUNDS; i++) {
        take(x, EXCHANGE_CLIENT, request, strlen(request));
        take(x, EXCHANGE_TARGET, answer, n + 1024);
    }
    printf("%-44s %9.0f requests/s\n", name, ROUNDS / (now() - from));
    exchange_free(x);
    http_filter_free((struct http_filter *)rules.slot[0].filter);
}

/* The same request again and again, as a client's encoder writes it: all fields but the path from its table. */
static void http2(void) {
    static const nghttp2_nv nv[] = {
        {(uint8_t *)":method", (uint8_t *)"POST", 7, 4, 0},
        {(uint8_t *)":scheme", (uint8_t *)"http", 7, 4, 0},
        {(uint8_t *)":authority", (uint8_t *)"cart:80", 10, 7, 0},
        {(uint8_t *)":path", (uint8_t *)"/shop.Cart/Get", 5, 14, 0},
        {(uint8_t *)"content-type", (uint8_t *)"application/grpc", 12, 16, 0},
        {(uint8_t *)"user-agent", (uint8_t *)"grpc-go/1.60.1", 10, 14, 0},
        {(uint8_t *)"te", (uint8_t *)"trailers", 2, 8, 0},
    };
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0";
    struct exchange_rules rules = {.count = 1};
    rules.slot[0] = (struct exchange_rule){.filter = filter(0, "^x-for: anna$"), .takes = true};
    struct exchange *x = exchange_new(&ops, NULL, &rules);
    nghttp2_hd_deflater *d;
    nghttp2_hd_deflate_new(&d, 4096);
    take(x, EXCHANGE_CLIENT, preface, sizeof preface);
    double from = now();
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t request[400] = {0, 0, 0, 1, 4}, answer[] = {0, 0, 1, 1, 5, 0, 0, 0, 0, 0x88};
        size_t n = (size_t)nghttp2_hd_deflate_hd(d, request + 9, 300, nv, 7);
        uint32_t id = 1 + 2 * i;
        request[2] = (uint8_t)n;
        for (unsigned k = 0; k < 4; k++)
            request[5 + k] = answer[5 + k] = (uint8_t)(id >> (24 - 8 * k));
        memcpy(request + 9 + n, "\0\0\5\0\1\0\0\0\0hello", 14);
        memcpy(request + 9 + n + 5, request + 5, 4);
        take(x, EXCHANGE_CLIENT, request, 9 + n + 14);
        take(x, EXCHANGE_TARGET, answer, sizeof answer);
    }
    printf("%-44s %9.0f requests/s, the client's encoder included\n",
           "HTTP/2, 7 fields, one header filter", ROUNDS / (now() - from));
    exchange_free(x);
    nghttp2_hd_deflate_del(d);
    http_filter_free((struct http_filter *)rules.slot[0].filter);
}

int main(void) {
    static const char small[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n";
    static const char usual[] =
        "GET /api/cart?item=7 HTTP/1.1\r\nHost: cart.shop.svc\r\nUser-Agent: Mozilla/5.0 (X11)\r\n"
        "Accept: text/html,application/json;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
        "Accept-Language: en-GB,en;q=0.5\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n"
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"
        "baggage: user=bert,build=17\r\nX-Forwarded-For: 10.0.0.7\r\n\r\n";
    http1("HTTP/1, 1 header, one header filter", small, 0, "^x-for: anna$");
    http1("HTTP/1, 9 headers, one header filter", usual, 0, "^x-for: anna$");
    http1("HTTP/1, 9 headers, baggage: .*user=anna", usual, 0, "baggage: .*user=anna");
    http1("HTTP/1, 9 headers, one path filter", usual, 1, "^/other");
    http2();
    return 0;
}
