/* The small parts: faults, addresses, spans and pens, msgpack's subset. */
#include "addr.h"
#include "check.h"
#include "fault.h"
#include "span.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

static void faults(void) {
    struct fault f;
    EXPECT(fault_set(NULL, 1, "x") == -1);
    EXPECT(fault_set(&f, ENOENT, "open %s", "/x") == -1 && f.err == ENOENT);
    EXPECT(strcmp(f.text, "open /x: No such file or directory") == 0);
    fault_set(&f, 0, "%0300d", 1);
    EXPECT(strlen(f.text) == sizeof f.text - 1);
    fault_set(&f, EPERM, "%0300d", 1); /* no room for the kernel's words */
    EXPECT(strlen(f.text) == sizeof f.text - 1);
}

static void addresses(void) {
    static const char *const texts[][2] = {
        {"198.18.0.2", "198.18.0.2:80"},
        {"fd00:198:18::2", "[fd00:198:18::2]:80"},
        {"::ffff:198.18.0.2", "198.18.0.2:80"}, /* IPv4 by its other name */
    };
    for (size_t i = 0; i < 3; i++) {
        uint8_t ip[16];
        bool v6 = inet_pton(AF_INET6, texts[i][0], ip) == 1;
        EXPECT(v6 || inet_pton(AF_INET, texts[i][0], ip) == 1);
        struct endpoint e = {.addr = v6 ? addr_v6(ip) : addr_v4(ip), .port = 80};
        char text[ENDPOINT_TEXT];
        EXPECT(strcmp(endpoint_text(&e, text), texts[i][1]) == 0);
        struct sockaddr_storage sa;
        struct endpoint back;
        EXPECT(endpoint_to_sockaddr(&e, &sa) ==
               (e.addr.family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)));
        EXPECT(endpoint_from_sockaddr((struct sockaddr *)&sa, &back) && endpoint_equal(&e, &back));
    }
    struct sockaddr other = {.sa_family = AF_UNIX};
    struct endpoint untouched = {.port = 7};
    EXPECT(!endpoint_from_sockaddr(&other, &untouched) && untouched.port == 7);
    struct endpoint longest = {
        .addr = addr_v6("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        .port = 65535};
    char text[ENDPOINT_TEXT];
    EXPECT(strlen(endpoint_text(&longest, text)) < ENDPOINT_TEXT);
}

/* A table of a power of two gets its share of neighbouring ports and addresses. */
static void hashes_spread(void) {
    enum { BUCKETS = 256, EACH = 16 };
    unsigned filled[BUCKETS] = {0};
    for (uint32_t i = 0; i < BUCKETS * EACH; i++) {
        uint32_t ip = htonl(0xc6120000 + i / 64);
        struct endpoint e = {.addr = addr_v4(&ip), .port = (uint16_t)(40000 + i % 64)};
        filled[endpoint_hash(&e, 5) % BUCKETS]++;
    }
    for (size_t i = 0; i < BUCKETS; i++)
        EXPECT(filled[i] > 0 && filled[i] < 3 * EACH);
    struct endpoint a = {.port = 1}, b = {.port = 2};
    EXPECT(endpoint_pair_hash(&a, &b, 0) != endpoint_pair_hash(&b, &a, 0));
    EXPECT(endpoint_hash(&a, 1) != endpoint_hash(&a, 2));
}

static void spans(void) {
    static const uint8_t octets[15] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    struct span s = span_of(octets, sizeof octets);
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    EXPECT(span_u8(&s, &a) && a == 1 && span_u16(&s, &b) && b == 0x0203);
    EXPECT(span_u32(&s, &c) && c == 0x04050607 && span_u64(&s, &d) && d == 0x08090a0b0c0d0e0full);
    EXPECT(span_left(&s) == 0 && !s.bad);
    EXPECT(!span_u8(&s, &a) && a == 1 && s.bad);

    s = span_of(octets, 3);
    const uint8_t *p = NULL;
    EXPECT(!span_u32(&s, &c) && c == 0x04050607); /* untouched */
    EXPECT(!span_take(&s, 0, &p) || p == s.end);  /* empty for good */
    EXPECT(!span_take(&s, 1, &p) && span_left(&s) == 0 && s.bad);

    uint8_t small[4];
    struct pen w = pen_on(small, sizeof small);
    pen_u8(&w, 1);
    pen_u32(&w, 2);
    EXPECT(w.over);
    pen_u8(&w, 3); /* nothing more is written once something was left out */
    EXPECT(w.at == small + 1);
}

/* Every width of integer at its edges, in the shortest form. */
static void integers(void) {
    static const struct {
        uint64_t value;
        size_t length;
    } cases[] = {{0, 1},         {127, 1},        {128, 2},
                 {255, 2},       {256, 3},        {65535, 3},
                 {65536, 5},     {UINT32_MAX, 5}, {UINT32_MAX + 1ull, 9},
                 {UINT64_MAX, 9}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t buffer[9];
        struct pen w = pen_on(buffer, sizeof buffer);
        pen_mp_uint(&w, cases[i].value);
        EXPECT(!w.over && (size_t)(w.at - buffer) == cases[i].length);
        for (size_t n = 0; n <= cases[i].length; n++) {
            struct span s = span_of(buffer, n);
            uint64_t v = 42;
            EXPECT(span_mp_uint(&s, &v) == (n == cases[i].length));
            EXPECT(v == (n == cases[i].length ? cases[i].value : 42));
        }
    }
    /* Signed forms that are not negative are taken; others are not. */
    uint64_t v = 42;
    struct span s = span_of(
        "\xd0\x7f\xd1\x7f\xff\xd2\x00\x00\x00\x05\xd3\x7f\xff\xff\xff\xff\xff\xff\xff\xd0\xff", 22);
    EXPECT(span_mp_uint(&s, &v) && v == 127 && span_mp_uint(&s, &v) && v == 32767 &&
           span_mp_uint(&s, &v) && v == 5);
    EXPECT(span_mp_uint(&s, &v) && v == INT64_MAX && !span_mp_uint(&s, &v) && s.bad);
}

static void strings(void) {
    static char text[70001], buffer[70010];
    static const uint32_t lengths[] = {0, 31, 32, 255, 256, 65535, 65536};
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint32_t n = lengths[i], got;
        const uint8_t *p;
        const char *str;
        text[n] = '\0';
        struct pen w = pen_on(buffer, sizeof buffer);
        pen_mp_bin(&w, text, n);
        struct span s = span_of(buffer, (size_t)(w.at - (uint8_t *)buffer));
        EXPECT(span_mp_bin(&s, &p, &got) && got == n && memcmp(p, text, n) == 0 &&
               span_left(&s) == 0);
        w = pen_on(buffer, sizeof buffer);
        pen_mp_str(&w, text);
        s = span_of(buffer, (size_t)(w.at - (uint8_t *)buffer));
        EXPECT(span_mp_str(&s, &str, &got) && got == n && memcmp(str, text, n) == 0 &&
               span_left(&s) == 0);
        text[n] = 'x';
    }
    uint32_t count;
    struct span s = span_of("\x92\xdc\x01\x00\xdd\x00\x01\x00\x00", 9);
    EXPECT(span_mp_array(&s, &count) && count == 2 && span_mp_array(&s, &count) && count == 256);
    EXPECT(span_mp_array(&s, &count) && count == 65536);
}

/* Every head octet there is, followed by more than it can need, and by nothing. */
static void skipping(void) {
    static uint8_t buffer[300];
    for (unsigned head = 0; head < 256; head++) {
        memset(buffer, 0, sizeof buffer);
        buffer[0] = (uint8_t)head;
        struct span s = span_of(buffer, sizeof buffer);
        EXPECT(span_mp_skip(&s) == (head != 0xc1));
        s = span_of(buffer, 0);
        EXPECT(!span_mp_skip(&s));
    }
    struct span s = span_of("\x91\x91\x91\x91\x91\x91\x91\x05", 8);
    EXPECT(span_mp_skip(&s) && span_left(&s) == 0);
    s = span_of("\x91\x91\x91\x91\x91\x91\x91\x91\x05", 9);
    EXPECT(!span_mp_skip(&s)); /* a level too many */
    s = span_of("\xdf\xff\xff\xff\xff\x01\x01", 7);
    EXPECT(!span_mp_skip(&s)); /* ends when the octets do, whatever it announced */
}

static const struct test tests[] = {TEST(faults),  TEST(addresses), TEST(hashes_spread),
                                    TEST(spans),   TEST(integers),  TEST(strings),
                                    TEST(skipping)};
CHECK_MAIN(tests)
