#include "agent/http_edge.h"

#include <string.h>

#define TLS_RECORDS_FROM 0x14 /* change_cipher_spec .. application_data, RFC 8446 5.1 */
#define TLS_RECORDS_TO   0x17

static int32_t after(uint32_t a, uint32_t b) {
    return (int32_t)(a - b);
}

void http_edge_begin(struct http_edge *e) {
    *e = (struct http_edge){0};
}

static bool is_tls(const uint8_t *p, size_t n) {
    return n >= 5 && p[0] >= TLS_RECORDS_FROM && p[0] <= TLS_RECORDS_TO && p[1] == 3 && p[2] <= 4;
}

bool http_edge_begins(const struct http_edge *e, const struct tcp_view *t) {
    return e->state == HTTP_EDGE_READY && t->payload_len > 0 && t->seq == e->client_next;
}

void http_edge_client(struct http_edge *e, const struct tcp_view *t) {
    if (e->state == HTTP_EDGE_NEVER || t->payload_len == 0)
        return;
    uint32_t end = t->seq + (uint32_t)t->payload_len;
    if (e->client_known && after(end, e->client_next) <= 0)
        return; /* seen before: a retransmission, or a probe */
    e->lost |= e->client_known && t->seq != e->client_next;
    e->client_next = end;
    e->target_next = t->ack;
    e->client_known = true;
    e->state = HTTP_EDGE_WAITING;
}

void http_edge_doubt(struct http_edge *e) {
    if (e->state == HTTP_EDGE_NEVER)
        return;
    e->state = ++e->doubts < HTTP_EDGE_DOUBTS ? HTTP_EDGE_WAITING : HTTP_EDGE_NEVER;
}

/* RFC 9112 4: the code of "HTTP/1.x SP 3DIGIT SP", or 0. */
static int status_code(const uint8_t *p, size_t n) {
    if (n < 13 || memcmp(p, "HTTP/1.", 7) != 0 || (p[7] != '0' && p[7] != '1') || p[8] != ' ' ||
        p[12] != ' ')
        return 0;
    int code = 0;
    for (int i = 9; i < 12; i++) {
        if (p[i] < '0' || p[i] > '9')
            return 0;
        code = code * 10 + (p[i] - '0');
    }
    return code >= 100 ? code : 0;
}

static void see_answer(struct http_edge *e, const struct tcp_view *t, size_t cut) {
    int code = status_code(t->payload, t->payload_len);
    size_t n = t->payload_len;
    if (code == 101 || code >= 200) {
        e->code = (uint16_t)code;
        e->answered = e->client_next;
    }
    if (code == 101 || is_tls(t->payload, n)) {
        e->state = HTTP_EDGE_NEVER;
    } else if (code == 0) {
        http_edge_doubt(e);
    } else if (code >= 200) {
        e->state = HTTP_EDGE_READY;
        e->doubts = 0;
    } else if (cut == 0 && n >= 4 && memcmp(t->payload + n - 4, "\r\n\r\n", 4) == 0) {
        e->target_next = t->seq + (uint32_t)n; /* the final one comes right behind it */
    }
}

void http_edge_target(struct http_edge *e, const struct tcp_view *t, size_t cut) {
    if (e->state != HTTP_EDGE_WAITING || !e->client_known || t->payload_len == 0)
        return;
    if (!(t->flags & TCP_FLAG_ACK) || t->ack != e->client_next || t->seq != e->target_next)
        return;
    uint32_t began = e->target_next;
    see_answer(e, t, cut);
    /* One answer, one judgement: its retransmission must not be doubted again. */
    if (e->state == HTTP_EDGE_WAITING && e->target_next == began) {
        e->client_known = false;
        e->lost = true;
    }
}

static bool is_method(uint8_t c) {
    return (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

static enum http_edge_line check_version(const uint8_t *p, size_t n) {
    static const char version[] = "HTTP/1.";
    size_t known = sizeof version - 1;
    if (memcmp(p, version, n < known ? n : known) != 0)
        return HTTP_EDGE_OTHER;
    if (n > known && p[known] != '0' && p[known] != '1')
        return HTTP_EDGE_OTHER;
    if (n > known + 1 && p[known + 1] != '\r')
        return HTTP_EDGE_OTHER;
    if (n > known + 2)
        return p[known + 2] == '\n' ? HTTP_EDGE_REQUEST : HTTP_EDGE_OTHER;
    return HTTP_EDGE_MORE;
}

enum http_edge_line http_edge_line(const uint8_t *p, size_t n) {
    size_t i = 0;
    while (i < n && i < 32 && is_method(p[i]))
        i++;
    if (i == n && i < 32)
        return HTTP_EDGE_MORE;
    if (i == 0 || i == 32 || p[i] != ' ')
        return HTTP_EDGE_OTHER;
    size_t target = ++i;
    while (i < n && i < HTTP_EDGE_LINE && p[i] > ' ' && p[i] != 0x7f)
        i++;
    if (i == HTTP_EDGE_LINE)
        return HTTP_EDGE_OTHER;
    if (i == n)
        return HTTP_EDGE_MORE;
    if (i == target || p[i] != ' ')
        return HTTP_EDGE_OTHER;
    return check_version(p + i + 1, n - i - 1);
}
