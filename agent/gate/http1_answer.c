/* A line is looked at where it lies; only one that comes in parts is put together in `line`. */
#include "agent/gate/http1_answer.h"
#include "agent/http/http1_head.h"

#include <string.h>

void http1_answer_begin(struct http1_answer *a) {
    memset(a, 0, offsetof(struct http1_answer, line));
}

/* "HTTP/1.1 200 OK"; the reason, and the space before it, may be missing. */
static bool status_line(struct http1_answer *a, const uint8_t *p, size_t n) {
    uint64_t status;
    if (n < 12 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1') || p[8] != ' ' ||
        !http1_number(p + 9, 3, &status) || status < 100 || (n > 12 && p[12] != ' '))
        return false;
    a->minor = (uint8_t)(p[7] - '0');
    a->status = (uint16_t)status;
    return true;
}

static void transfer_coding(struct http1_answer *a, const uint8_t *value, size_t n) {
    a->odd |= a->chunked || !http1_named(value, n, "chunked") || a->minor == 0;
    a->chunked = true;
}

static void header(struct http1_answer *a, const uint8_t *p, size_t n) {
    const uint8_t *colon = memchr(p, ':', n);
    if (colon == NULL)
        return;
    size_t name = (size_t)(colon - p);
    const uint8_t *value = colon + 1, *end = p + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t v = (size_t)(end - value);
    uint64_t size = 0;
    if (http1_named(p, name, "content-length")) {
        a->odd |= !http1_number(value, v, &size) || (a->sized && size != a->size);
        a->sized = true;
        a->size = size;
    } else if (http1_named(p, name, "transfer-encoding")) {
        transfer_coding(a, value, v);
    } else if (http1_named(p, name, "connection")) {
        a->close |= http1_lists(value, v, "close");
        a->keep_alive |= http1_lists(value, v, "keep-alive");
    }
}

/* The head has ended. Length and chunks together, or either in doubt: the connection's end is what all can agree on. */
static enum http1_answer_is framed(struct http1_answer *a, bool head, bool connect) {
    if (a->status == 101 || (connect && a->status / 100 == 2))
        return HTTP1_ANSWER_SWITCHED;
    if (a->status < 200) {
        http1_answer_begin(a);
        return HTTP1_ANSWER_INTERIM;
    }
    a->in_body = true;
    a->last = a->close || (a->minor == 0 && !a->keep_alive);
    if (head || a->status == 204 || a->status == 304)
        http1_body_none(&a->body);
    else if (a->odd || (a->sized && a->chunked) || (!a->sized && !a->chunked))
        http1_body_until_end(&a->body);
    else if (a->chunked)
        http1_body_chunked(&a->body, true);
    else
        http1_body_length(&a->body, a->size);
    a->last |= a->body.state == HTTP1_BODY_UNTIL_END;
    return HTTP1_ANSWER_HEAD;
}

static enum http1_answer_is line(struct http1_answer *a, const uint8_t *p, size_t n, bool head,
                                 bool connect) {
    if (n > 0 && p[n - 1] == '\r')
        n--;
    if (!a->in_headers) {
        a->in_headers = true;
        return status_line(a, p, n) ? HTTP1_ANSWER_MORE : HTTP1_ANSWER_BAD;
    }
    if (n == 0)
        return framed(a, head, connect);
    header(a, p, n);
    return HTTP1_ANSWER_MORE;
}

/* A part of a line: kept, if the whole can still be of interest. */
static bool keep(struct http1_answer *a, const uint8_t *p, size_t n) {
    if (a->line_n + n > HTTP1_ANSWER_LINE) {
        a->line_n = HTTP1_ANSWER_LINE + 1;
    } else {
        memcpy(a->line + a->line_n, p, n);
        a->line_n = (uint16_t)(a->line_n + n);
    }
    size_t have = a->line_n < 7 ? a->line_n : 7;
    return a->in_headers || memcmp(a->line, "HTTP/1.", have) == 0;
}

static enum http1_answer_is in_head(struct http1_answer *a, bool head, bool connect,
                                    const uint8_t *p, size_t n, size_t *taken) {
    const uint8_t *lf = memchr(p, '\n', n);
    *taken = lf != NULL ? (size_t)(lf - p) + 1 : n;
    if (lf == NULL)
        return keep(a, p, n) ? HTTP1_ANSWER_MORE : HTTP1_ANSWER_BAD;
    if (a->line_n == 0)
        return line(a, p, *taken - 1, head, connect);
    keep(a, p, *taken - 1);
    size_t length = a->line_n;
    a->line_n = 0;
    if (length > HTTP1_ANSWER_LINE)
        return a->in_headers ? HTTP1_ANSWER_MORE
                             : line(a, a->line, HTTP1_ANSWER_LINE, head, connect);
    return line(a, a->line, length, head, connect);
}

enum http1_answer_is http1_answer_take(struct http1_answer *a, bool head, bool connect,
                                       const uint8_t *p, size_t n, size_t *taken) {
    size_t at = 0;
    enum http1_answer_is is = HTTP1_ANSWER_MORE;
    while (!a->in_body && at < n && is == HTTP1_ANSWER_MORE) {
        size_t part;
        a->begun = true;
        is = in_head(a, head, connect, p + at, n - at, &part);
        at += part;
    }
    if (a->in_body && is == HTTP1_ANSWER_MORE) {
        at += http1_body_take(&a->body, p + at, n - at);
        if (a->body.state == HTTP1_BODY_DONE)
            is = HTTP1_ANSWER_DONE;
        else if (a->body.state == HTTP1_BODY_BAD)
            is = HTTP1_ANSWER_BAD;
    }
    *taken = at;
    return is;
}
