/* Start's parser: every string is checked once here (no NUL inside), so that nobody after it has to. */
#include "start.h"

#include "span.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_INIT_HELLO = 48, TAG_START = 49, PROTOCOL = 1, MANY = 65536 };

/* The strings go into one block as long as the message: each had at least one octet before it, which pays for its NUL. */
struct text {
    struct span span;
    char *at;
};

static char *copied(struct text *t, const void *p, uint32_t n) {
    char *text = t->at;
    if (memchr(p, 0, n) != NULL)
        return NULL;
    memcpy(text, p, n);
    text[n] = '\0';
    t->at += n + 1;
    return text;
}

static char *text_of(struct text *t) {
    const char *p;
    uint32_t n;
    return span_mp_str(&t->span, &p, &n) ? copied(t, p, n) : NULL;
}

/* An array of bin as a NULL-terminated vector. The count is bounded by what is left, one octet each at least. */
static bool vector_of(struct text *t, char ***vector, uint32_t *count) {
    if (!span_mp_array(&t->span, count) || *count > MANY || *count > span_left(&t->span))
        return false;
    *vector = calloc((size_t)*count + 1, sizeof **vector);
    for (uint32_t i = 0; *vector != NULL && i < *count; i++) {
        const uint8_t *p;
        uint32_t n;
        if (!span_mp_bin(&t->span, &p, &n) || ((*vector)[i] = copied(t, p, n)) == NULL)
            return false;
    }
    return *vector != NULL;
}

static bool id_of(struct span *s, uint32_t *id) {
    uint64_t v;
    if (!span_mp_uint(s, &v) || v >= UINT32_MAX) /* (uid_t)-1 means "no change" to the kernel */
        return false;
    *id = (uint32_t)v;
    return true;
}

static bool user_of(struct text *t, struct start *o) {
    struct span *s = &t->span;
    uint32_t fields, groups;
    if (!span_mp_array(s, &fields) || fields < 5 || !id_of(s, &o->uid) || !id_of(s, &o->gid))
        return false;
    if (!span_mp_array(s, &groups) || groups > MANY || groups > span_left(s))
        return false;
    o->groups = calloc((size_t)groups + 1, sizeof *o->groups);
    if (o->groups == NULL)
        return false;
    for (o->group_count = 0; o->group_count < groups; o->group_count++)
        if (!id_of(s, &o->groups[o->group_count]))
            return false;
    o->name = text_of(t);
    o->home = text_of(t);
    for (uint32_t i = 5; i < fields; i++) /* of a later version */
        if (!span_mp_skip(s))
            return false;
    return o->name != NULL && o->home != NULL;
}

/* The field that came later. */
static bool rules_of(struct span *s, struct start *o) {
    const uint8_t *p;
    uint32_t n;
    if (!span_mp_bin(s, &p, &n) || (o->rules = malloc((size_t)n + 1)) == NULL)
        return false;
    memcpy(o->rules, p, n);
    o->rules_len = n;
    return true;
}

static int read_all(struct text *t, struct start *o, struct fault *f) {
    uint32_t fields, arguments, variables;
    uint64_t tag;
    if (!span_mp_array(&t->span, &fields) || !span_mp_uint(&t->span, &tag))
        return fault_set(f, 0, "the bridge's answer is no message");
    if (tag != TAG_START || fields < 5)
        return fault_set(f, 0, "the bridge answered with message %u instead of Start",
                         (unsigned)tag);
    if (!vector_of(t, &o->argv, &arguments))
        return fault_set(f, 0, "the bridge's Start has a command that cannot be read");
    if (arguments == 0 || o->argv[0][0] == '\0')
        return fault_set(f, 0, "there is no command to run");
    if (!vector_of(t, &o->environ, &variables))
        return fault_set(f, 0, "the bridge's Start has an environment that cannot be read");
    if (!user_of(t, o) || (o->cwd = text_of(t)) == NULL)
        return fault_set(f, 0, "the bridge's Start has a user or directory that cannot be read");
    if (fields >= 6 && !rules_of(&t->span, o))
        return fault_set(f, 0, "the bridge's Start has rules of the layer that cannot be read");
    return 0;
}

int start_parse(const uint8_t *body, size_t n, struct start *out, struct fault *f) {
    struct start o = {.text = malloc(n + 1)};
    struct text t = {.span = span_of(body, n), .at = o.text};
    if (o.text == NULL)
        return fault_set(f, ENOMEM, "read the bridge's Start of %zu octets", n);
    if (read_all(&t, &o, f) != 0) {
        start_free(&o);
        return -1;
    }
    *out = o;
    return 0;
}

void start_free(struct start *s) {
    free(s->argv);
    free(s->environ);
    free(s->groups);
    free(s->text);
    free(s->rules);
    *s = (struct start){0};
}

size_t start_hello(uint8_t *out) {
    struct pen w = pen_on(out, 16);
    pen_u32(&w, 0);
    pen_mp_array(&w, 2);
    pen_mp_uint(&w, TAG_INIT_HELLO);
    pen_mp_uint(&w, PROTOCOL);
    size_t n = (size_t)(w.at - out);
    struct pen length = pen_on(out, 4);
    pen_u32(&length, (uint32_t)(n - 4));
    return n;
}
