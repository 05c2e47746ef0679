/* Terms in one array, groups as bit sets over it: a request's state is one word. */
#include "agent/http/filter.h"
#include "agent/http/pattern.h"

#include <stdlib.h>
#include <string.h>

#define LINE 2048 /* headers up to this length are composed on the stack */

struct http_filter {
    struct pattern *pattern[HTTP_FILTER_TERMS];
    uint8_t what[HTTP_FILTER_TERMS]; /* enum http_filter_what */
    uint32_t group[HTTP_FILTER_TERMS];
    uint32_t headers; /* the terms that are about headers */
    unsigned terms, groups;
};

static int read_term(struct http_filter *filter, struct span *s, struct fault *f) {
    uint32_t parts, n;
    uint64_t what;
    const char *text;
    if (!span_mp_array(s, &parts) || parts != 2 || !span_mp_uint(s, &what) ||
        what > HTTP_FILTER_METHOD || !span_mp_str(s, &text, &n))
        return fault_set(f, 0, "a filter's term is not [what, regular expression]");
    if (filter->terms == HTTP_FILTER_TERMS)
        return fault_set(f, 0, "a filter has more than %d terms", HTTP_FILTER_TERMS);
    struct fault why;
    struct pattern *p = pattern_new(text, n, &why);
    if (p == NULL)
        return fault_set(f, 0, "the regular expression \"%.*s\" is refused: %s",
                         (int)(n < 60 ? n : 60), text, why.text);
    unsigned at = filter->terms++;
    filter->pattern[at] = p;
    filter->what[at] = (uint8_t)what;
    filter->group[filter->groups] |= 1u << at;
    if (what == HTTP_FILTER_HEADER)
        filter->headers |= 1u << at;
    return 0;
}

static int read_groups(struct http_filter *filter, struct span *s, struct fault *f) {
    uint32_t groups, terms;
    if (!span_mp_array(s, &groups) || groups == 0)
        return fault_set(f, 0, "a filter is no list of groups, or an empty one");
    if (groups > HTTP_FILTER_TERMS)
        return fault_set(f, 0, "a filter has more than %d groups", HTTP_FILTER_TERMS);
    for (; filter->groups < groups; filter->groups++) {
        if (!span_mp_array(s, &terms) || terms == 0)
            return fault_set(f, 0, "a filter's group is no list of terms, or an empty one");
        for (; terms > 0; terms--)
            if (read_term(filter, s, f) != 0)
                return -1;
    }
    return 0;
}

struct http_filter *http_filter_read(struct span *s, struct fault *f) {
    struct http_filter *filter = calloc(1, sizeof *filter);
    if (filter == NULL) {
        fault_set(f, 0, "no memory for a filter");
        return NULL;
    }
    if (read_groups(filter, s, f) == 0)
        return filter;
    http_filter_free(filter);
    return NULL;
}

struct http_filter *http_filter_everything(struct fault *f) {
    static const uint8_t any_path[] = {0x91, 0x91, 0x92, HTTP_FILTER_PATH,
                                       0xa0}; /* [[[path, ""]]] */
    struct span s = span_of(any_path, sizeof any_path);
    return http_filter_read(&s, f);
}

void http_filter_free(struct http_filter *filter) {
    if (filter == NULL)
        return;
    for (unsigned i = 0; i < filter->terms; i++)
        pattern_free(filter->pattern[i]);
    free(filter);
}

/* The path and query of absolute-form ("http://host/path"); any other form is itself. */
static void path_of(const char **target, size_t *n) {
    const char *slashes = *n > 0 && **target != '/' ? memmem(*target, *n, "://", 3) : NULL;
    if (slashes == NULL)
        return;
    const char *end = *target + *n;
    const char *path = memchr(slashes + 3, '/', (size_t)(end - slashes - 3));
    *target = path != NULL ? path : "/";
    *n = path != NULL ? (size_t)(end - path) : 1;
}

static bool path_matches(const struct pattern *p, const char *path, size_t n) {
    const char *query = memchr(path, '?', n);
    if (query != NULL && pattern_matches(p, path, (size_t)(query - path)))
        return true;
    return pattern_matches(p, path, n);
}

void http_filter_line(const struct http_filter *filter, struct http_filter_match *m,
                      const char *method, size_t method_n, const char *target, size_t target_n) {
    path_of(&target, &target_n);
    for (unsigned i = 0; i < filter->terms; i++) {
        const struct pattern *p = filter->pattern[i];
        if (filter->what[i] == HTTP_FILTER_PATH && path_matches(p, target, target_n))
            m->held |= 1u << i;
        if (filter->what[i] == HTTP_FILTER_METHOD && pattern_matches(p, method, method_n))
            m->held |= 1u << i;
    }
}

static void header(const struct http_filter *filter, struct http_filter_match *m, const char *text,
                   size_t n) {
    for (unsigned i = 0; i < filter->terms; i++)
        if ((filter->headers & ~m->held) >> i & 1 && pattern_matches(filter->pattern[i], text, n))
            m->held |= 1u << i;
}

void http_filter_header(const struct http_filter *filter, struct http_filter_match *m,
                        const char *name, size_t name_n, const char *value, size_t value_n) {
    if ((filter->headers & ~m->held) == 0)
        return;
    size_t n = name_n + 2 + value_n;
    if (value == name + name_n + 2 && name[name_n] == ':' && name[name_n + 1] == ' ') {
        header(filter, m, name, n); /* it lies there as it is to be matched */
        return;
    }
    char near[LINE];
    char *text = n <= sizeof near ? near : malloc(n);
    if (text == NULL)
        return; /* a header that does not match: its request stays the target's */
    memcpy(text, name, name_n);
    text[name_n] = ':';
    text[name_n + 1] = ' ';
    memcpy(text + name_n + 2, value, value_n);
    header(filter, m, text, n);
    if (text != near)
        free(text);
}

enum http_filter_verdict http_filter_verdict(const struct http_filter *filter,
                                             const struct http_filter_match *m, bool complete) {
    bool open = false;
    for (unsigned g = 0; g < filter->groups; g++) {
        uint32_t missing = filter->group[g] & ~m->held;
        if (missing == 0)
            return HTTP_FILTER_YES;
        open |= (missing & ~filter->headers) == 0;
    }
    return open && !complete ? HTTP_FILTER_OPEN : HTTP_FILTER_NO;
}
