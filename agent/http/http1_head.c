/* Line by line: a line is looked at when it is whole; what is there of one that is not is checked for octets that no line has. */
#include "agent/http/http1_head.h"

#include <string.h>

/* Sorted by nothing: the first few are nearly all there are. */
static const char *const methods[] = {
    "GET",      "POST",    "HEAD",       "PUT",         "DELETE",           "OPTIONS",
    "PATCH",    "CONNECT", "TRACE",      "QUERY",       "PROPFIND",         "PROPPATCH",
    "MKCOL",    "COPY",    "MOVE",       "LOCK",        "UNLOCK",           "ACL",
    "BIND",     "REBIND",  "UNBIND",     "CHECKIN",     "CHECKOUT",         "UNCHECKOUT",
    "LABEL",    "LINK",    "UNLINK",     "MERGE",       "REPORT",           "SEARCH",
    "UPDATE",   "PURGE",   "MKACTIVITY", "MKCALENDAR",  "MKWORKSPACE",      "ORDERPATCH",
    "M-SEARCH", "NOTIFY",  "SUBSCRIBE",  "UNSUBSCRIBE", "BASELINE-CONTROL", "VERSION-CONTROL",
};

bool http1_is_token(uint8_t c) {
    if (c >= 'a' && c <= 'z')
        return true;
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c > ' ' && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

bool http1_is_text(uint8_t c) {
    return c >= ' ' ? c != 0x7f : c == '\t';
}

bool http1_named(const uint8_t *name, size_t n, const char *lower) {
    size_t i = 0;
    for (; i < n && lower[i] != '\0'; i++) {
        uint8_t c = name[i] == '_' ? '-' : name[i];
        if (c >= 'A' && c <= 'Z')
            c |= 0x20;
        if (c != (uint8_t)lower[i])
            return false;
    }
    return i == n && lower[i] == '\0';
}

bool http1_lists(const uint8_t *value, size_t n, const char *word) {
    for (size_t at = 0; at < n;) {
        const uint8_t *comma = memchr(value + at, ',', n - at);
        size_t end = comma != NULL ? (size_t)(comma - value) : n;
        size_t from = at, to = end;
        while (from < to && (value[from] == ' ' || value[from] == '\t'))
            from++;
        while (to > from && (value[to - 1] == ' ' || value[to - 1] == '\t'))
            to--;
        if (http1_named(value + from, to - from, word))
            return true;
        at = end + 1;
    }
    return false;
}

bool http1_number(const uint8_t *p, size_t n, uint64_t *v) {
    if (n == 0 || n > 18)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        sum = sum * 10 + (uint64_t)(p[i] - '0');
    }
    *v = sum;
    return true;
}

/* Whether the octets up to the first space are a method, or all there are begin one. */
static bool method(const uint8_t *p, size_t n, uint16_t *length) {
    const uint8_t *space = memchr(p, ' ', n);
    size_t have = space != NULL ? (size_t)(space - p) : n;
    *length = (uint16_t)have;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t whole = strlen(methods[i]);
        if ((space == NULL ? have <= whole : have == whole) && memcmp(methods[i], p, have) == 0)
            return true;
    }
    return false;
}

/* A line without its end: "GET /path HTTP/1.1". */
static bool request_line(struct http1_head *h, const uint8_t *p, size_t n) {
    const uint8_t *space = memchr(p, ' ', n);
    if (space == NULL || !method(p, n, &h->method_n) || h->method_n == 0)
        return false;
    const uint8_t *target = space + 1, *end = p + n;
    const uint8_t *after = memchr(target, ' ', (size_t)(end - target));
    if (after == NULL || after == target || end - after != 9 || memcmp(after, " HTTP/1.", 8) != 0)
        return false;
    if (after[8] != '0' && after[8] != '1')
        return false;
    for (const uint8_t *c = target; c < after; c++)
        if (*c <= ' ' || *c >= 0x7f)
            return false;
    h->target_at = (uint32_t)(target - p);
    h->target_n = (uint32_t)(after - target);
    h->minor = (uint8_t)(after[8] - '0');
    h->connect = h->method_n == 7 && memcmp(p, "CONNECT", 7) == 0;
    h->head = h->method_n == 4 && memcmp(p, "HEAD", 4) == 0;
    return true;
}

/* What a header says about where the body ends and what comes then. False: it can be read in two ways. */
static bool weigh(struct http1_head *h, const uint8_t *name, const uint8_t *value) {
    size_t n = h->name_n, v = h->value_n;
    if (n == 4 && http1_named(name, n, "host")) {
        bool second = h->host;
        h->host = true;
        return !second;
    }
    if (n == 14 && http1_named(name, n, "content-length")) {
        bool second = h->sized;
        h->sized = true;
        return !second && name[7] == '-' && http1_number(value, v, &h->size);
    }
    if (n == 17 && http1_named(name, n, "transfer-encoding")) {
        bool second = h->chunked;
        h->chunked = true;
        return !second && name[8] == '-' && http1_named(value, v, "chunked") && h->minor == 1;
    }
    if (n == 10 && http1_named(name, n, "connection")) {
        h->close |= http1_lists(value, v, "close");
        h->keep_alive |= http1_lists(value, v, "keep-alive");
    }
    if (n == 7 && http1_named(name, n, "upgrade"))
        h->upgrade = true;
    return true;
}

static bool header_line(struct http1_head *h, const uint8_t *p, size_t n) {
    size_t name = 0;
    while (name < n && http1_is_token(p[name]))
        name++;
    if (name == 0 || name == n || p[name] != ':')
        return false;
    size_t from = name + 1, to = n;
    while (from < to && (p[from] == ' ' || p[from] == '\t'))
        from++;
    while (to > from && (p[to - 1] == ' ' || p[to - 1] == '\t'))
        to--;
    for (size_t i = from; i < to; i++)
        if (!http1_is_text(p[i]))
            return false;
    h->name_at = h->line;
    h->name_n = (uint32_t)name;
    h->value_at = h->line + (uint32_t)from;
    h->value_n = (uint32_t)(to - from);
    return weigh(h, p, p + from);
}

/* Of a line that is not whole yet. The first line's beginning must be a method's. */
static enum http1_head_is partial(struct http1_head *h, const uint8_t *p, size_t n) {
    uint16_t length;
    if (!h->in_headers && n > 0 && !method(p, n < 20 ? n : 20, &length))
        return HTTP1_HEAD_BAD;
    for (size_t i = h->at; i < n; i++)
        if (!http1_is_text(p[i]) && (p[i] != '\r' || i + 1 < n))
            return HTTP1_HEAD_BAD;
    h->at = (uint32_t)(n > 0 && p[n - 1] == '\r' ? n - 1 : n);
    return HTTP1_HEAD_MORE;
}

static enum http1_head_is consistent(const struct http1_head *h) {
    bool bad = (h->minor == 1 && !h->host) || (h->sized && h->chunked) ||
               (h->connect && (h->sized || h->chunked));
    return bad ? HTTP1_HEAD_BAD : HTTP1_HEAD_DONE;
}

enum http1_head_is http1_head_step(struct http1_head *h, const uint8_t *p, size_t n) {
    const uint8_t *lf = n > h->at ? memchr(p + h->at, '\n', n - h->at) : NULL;
    if (lf == NULL) {
        struct http1_head look = *h;
        look.at -= h->line;
        enum http1_head_is is = partial(&look, p + h->line, n - h->line);
        h->at = look.at + h->line;
        return is;
    }
    const uint8_t *line = p + h->line;
    size_t length = (size_t)(lf - line);
    if (length == 0 || lf[-1] != '\r')
        return HTTP1_HEAD_BAD;
    length--;
    bool first = !h->in_headers;
    if (first ? !request_line(h, line, length) : length > 0 && !header_line(h, line, length))
        return HTTP1_HEAD_BAD;
    h->in_headers = true;
    h->at = h->line = (uint32_t)(lf + 1 - p);
    if (first)
        return HTTP1_HEAD_LINE;
    if (length > 0)
        return HTTP1_HEAD_HEADER;
    h->length = h->line;
    return consistent(h);
}

void http1_head_taken(struct http1_head *h, size_t n) {
    h->at -= (uint32_t)n;
    h->line -= (uint32_t)n;
}
