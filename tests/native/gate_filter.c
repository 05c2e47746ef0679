/* Filters: what matches, when "no" is certain, and what is refused in which words. */
#include "agent/http/filter.h"

#include "check.h"

#include <time.h>

static struct http_filter *of(const char *pattern, unsigned what, struct fault *f) {
    uint8_t packed[8192];
    struct pen w = pen_on(packed, sizeof packed);
    pen_mp_array(&w, 1);
    pen_mp_array(&w, 1);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, what);
    pen_mp_str(&w, pattern);
    struct span s = span_of(packed, (size_t)(w.at - packed));
    return http_filter_read(&s, f);
}

static enum http_filter_verdict ask(const struct http_filter *filter, const char *method,
                                    const char *target, const char *name, const char *value) {
    struct http_filter_match m = {0};
    http_filter_line(filter, &m, method, strlen(method), target, strlen(target));
    if (name != NULL)
        http_filter_header(filter, &m, name, strlen(name), value, strlen(value));
    return http_filter_verdict(filter, &m, true);
}

static bool header(const char *pattern, const char *name, const char *value) {
    struct fault f;
    struct http_filter *filter = of(pattern, HTTP_FILTER_HEADER, &f);
    EXPECT(filter != NULL);
    enum http_filter_verdict is = ask(filter, "GET", "/", name, value);
    http_filter_free(filter);
    return is == HTTP_FILTER_YES;
}

static bool path(const char *pattern, const char *target) {
    struct fault f;
    struct http_filter *filter = of(pattern, HTTP_FILTER_PATH, &f);
    EXPECT(filter != NULL);
    enum http_filter_verdict is = ask(filter, "GET", target, NULL, NULL);
    http_filter_free(filter);
    return is == HTTP_FILTER_YES;
}

static void headers_as_name_and_value(void) {
    EXPECT(header("^x-user: anna$", "X-User", "anna"));
    EXPECT(header("baggage: .*user=anna", "Baggage", "a=b,user=anna,c=d"));
    EXPECT(header("ANNA", "x", "says anna"));
    EXPECT(!header("^anna", "x", "anna"));
    EXPECT(!header("x-user: anna", "x-user", "bert"));
    EXPECT(header("x-ünï: \xc3\xbc", "x-\xc3\xbcn\xc3\xaf", "\xc3\xbc"));
    EXPECT(header("x: .\xff", "x", "a\xff"));
    char long_value[5000];
    memset(long_value, 'a', sizeof long_value - 1);
    long_value[sizeof long_value - 1] = '\0';
    EXPECT(header("^long: a{400}.*a$", "long", long_value));
}

static void paths_with_and_without_query(void) {
    EXPECT(path("^/api$", "/api"));
    EXPECT(path("^/api$", "/api?x=1"));
    EXPECT(path("x=1", "/api?x=1"));
    EXPECT(path("^/api", "http://cart/api"));
    EXPECT(path("^/$", "http://cart"));
    EXPECT(!path("^/api$", "/api/cart"));
    EXPECT(path("^\\*$", "*"));
}

static void no_is_certain_with_the_line(void) {
    static const struct {
        const char *method, *target;
        enum http_filter_verdict is;
    } cases[] = {
        {"GET", "/other", HTTP_FILTER_NO},
        {"GET", "/cart", HTTP_FILTER_OPEN},
        {"DELETE", "/other", HTTP_FILTER_YES},
    };
    uint8_t packed[256]; /* (path and header) or method */
    struct pen w = pen_on(packed, sizeof packed);
    static const struct {
        unsigned what;
        const char *text;
    } terms[] = {{1, "^/cart"}, {0, "^x: y$"}, {2, "^delete$"}};
    pen_mp_array(&w, 2);
    for (unsigned i = 0; i < 3; i++) {
        if (i != 1)
            pen_mp_array(&w, i == 0 ? 2 : 1);
        pen_mp_array(&w, 2);
        pen_mp_uint(&w, terms[i].what);
        pen_mp_str(&w, terms[i].text);
    }
    struct span s = span_of(packed, (size_t)(w.at - packed));
    struct http_filter *filter = http_filter_read(&s, NULL);
    EXPECT(filter != NULL);
    for (unsigned i = 0; i < 3; i++) {
        struct http_filter_match m = {0};
        http_filter_line(filter, &m, cases[i].method, strlen(cases[i].method), cases[i].target,
                         strlen(cases[i].target));
        EXPECT(http_filter_verdict(filter, &m, false) == cases[i].is);
        EXPECT(http_filter_verdict(filter, &m, true) ==
               (cases[i].is == HTTP_FILTER_OPEN ? HTTP_FILTER_NO : cases[i].is));
    }
    EXPECT(ask(filter, "GET", "/cart", "X", "Y") == HTTP_FILTER_YES);
    http_filter_free(filter);
}

static void refused_with_the_place(void) {
    struct fault f;
    EXPECT(of("a(?=b)", 0, &f) == NULL);
    EXPECT_TEXT(f.text, "\"a(?=b)\" is refused: invalid perl operator: (?=, at octet 2");
    EXPECT(of("(x", 0, &f) == NULL);
    EXPECT_TEXT(f.text, "missing )");
    EXPECT(of("(a)\\1", 0, &f) == NULL);
    EXPECT_TEXT(f.text, "invalid escape sequence");
    EXPECT(of("((x{100}){100}){100}", 0, &f) == NULL);
    EXPECT_TEXT(f.text, "is refused: ");
    char text[1100];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    EXPECT(of(text, 0, &f) == NULL);
    EXPECT_TEXT(f.text, "it is 1099 octets long, at most 1024");
    EXPECT(of("x", 3, &f) == NULL);
    EXPECT_TEXT(f.text, "not [what, regular expression]");
    struct span s = span_of("\x90", 1);
    EXPECT(http_filter_read(&s, &f) == NULL);
    EXPECT_TEXT(f.text, "no list of groups, or an empty one");
    static const uint8_t deep[] = {0x91, 0x90};
    s = span_of(deep, sizeof deep);
    EXPECT(http_filter_read(&s, &f) == NULL);
    EXPECT_TEXT(f.text, "group is no list of terms, or an empty one");
}

/* Where a backtracking engine takes 2^n steps: the processor's time for 30 KB, which RE2 reads once. */
static void bad_input_costs_nobody(void) {
    static const char *const evil[] = {"(a*)*b$", "(a|a)*b$", "(a+)+b$", "(.*a){20}b$"};
    size_t n = 30000;
    char *value = malloc(n + 1);
    memset(value, 'a', n);
    value[n] = '\0';
    for (unsigned i = 0; i < sizeof evil / sizeof *evil; i++) {
        clock_t before = clock();
        EXPECT(!header(evil[i], "x", value));
        EXPECT(clock() - before < 5 * CLOCKS_PER_SEC);
    }
    free(value);
}

static const struct test tests[] = {
    TEST(headers_as_name_and_value),   TEST(paths_with_and_without_query),
    TEST(no_is_certain_with_the_line), TEST(refused_with_the_place),
    TEST(bad_input_costs_nobody),
};
CHECK_MAIN(tests)
