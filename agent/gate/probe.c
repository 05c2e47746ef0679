/* See probe.h. */
#include "agent/gate/probe.h"

#include <nghttp2/nghttp2.h>
#include <string.h>

#define AGENT   "kube-probe/"
#define SERVICE "/grpc.health.v1.Health/"
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

enum { TLS = 0x16, FRAME_HEAD = 9, HEADERS = 1, PADDED = 8, PRIORITY = 0x20, PRIORITY_SIZE = 5 };

bool probe_expected(const struct want *w, uint16_t port) {
    for (uint32_t i = 0; i < w->probes; i++)
        if (w->probe[i].port == port)
            return true;
    return false;
}

static bool expected(const struct want *w, uint16_t port, enum want_probe_kind kind) {
    for (uint32_t i = 0; i < w->probes; i++)
        if (w->probe[i].port == port && w->probe[i].kind == kind)
            return true;
    return false;
}

/* Whether `p` is the beginning of `whole`, or begins with it. */
static bool agrees(const uint8_t *p, size_t n, const char *whole, size_t length) {
    return memcmp(p, whole, n < length ? n : length) == 0;
}

/* --- HTTP/1 --------------------------------------------------------------------------------------------------------- */

/* A request line of a probe's: `line` is without its end. */
static bool is_probes_line(const struct want *w, uint16_t port, const char *line, size_t n) {
    for (uint32_t i = 0; i < w->probes; i++) {
        const struct want_probe *probe = &w->probe[i];
        const char *path = probe->path[0] ? probe->path : "/";
        size_t length = strlen(path);
        if (probe->port == port && probe->kind == WANT_PROBE_HTTP && n == 4 + length + 9 &&
            memcmp(line, "GET ", 4) == 0 && memcmp(line + 4, path, length) == 0 &&
            memcmp(line + 4 + length, " HTTP/1.1", 9) == 0)
            return true;
    }
    return false;
}

static enum probe_verdict judge_http(const struct want *w, uint16_t port, const char *p, size_t n) {
    static const char field[] = "\r\nUser-Agent: " AGENT; /* as Go's client writes it */
    if (!agrees((const uint8_t *)p, n, "GET ", 4))
        return PROBE_NO;
    const char *end = memmem(p, n, "\r\n", 2);
    if (!end)
        return n < PROBE_PEEK ? PROBE_MORE : PROBE_NO;
    if (!is_probes_line(w, port, p, (size_t)(end - p)))
        return PROBE_NO;
    const char *head = memmem(p, n, "\r\n\r\n", 4);
    if (memmem(p, head ? (size_t)(head - p) : n, field, sizeof field - 1))
        return PROBE_YES;
    return head || n >= PROBE_PEEK ? PROBE_NO : PROBE_MORE;
}

/* --- gRPC ----------------------------------------------------------------------------------------------------------- */

static bool begins(const char *p, size_t n, const char *with) {
    return n >= strlen(with) && memcmp(p, with, strlen(with)) == 0;
}

bool probe_is_health_check(const char *path, size_t path_n, const char *agent, size_t agent_n) {
    return begins(path, path_n, SERVICE) && begins(agent, agent_n, AGENT);
}

static bool has(const nghttp2_nv *nv, const char *name, const char *value) {
    return nv->namelen == strlen(name) && memcmp(nv->name, name, nv->namelen) == 0 &&
           begins((const char *)nv->value, nv->valuelen, value);
}

/* The first header block of a connection: no dynamic table has been made yet. */
static bool is_health_check(const uint8_t *p, size_t n) {
    nghttp2_hd_inflater *inflater;
    bool agent = false, service = false;
    if (nghttp2_hd_inflate_new(&inflater) != 0)
        return false;
    for (int flags = 0; n > 0 && !(flags & NGHTTP2_HD_INFLATE_FINAL);) {
        nghttp2_nv nv = {0};
        ssize_t took = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, p, n, 1);
        if (took < 0)
            break;
        p += took;
        n -= (size_t)took;
        if (flags & NGHTTP2_HD_INFLATE_EMIT) {
            agent |= has(&nv, "user-agent", AGENT);
            service |= has(&nv, ":path", SERVICE);
        } else if (took == 0) {
            break;
        }
    }
    nghttp2_hd_inflate_del(inflater);
    return agent && service;
}

static enum probe_verdict judge_headers(uint8_t flags, const uint8_t *p, size_t n) {
    size_t skip = (flags & PADDED ? 1 : 0) + (flags & PRIORITY ? PRIORITY_SIZE : 0);
    size_t padding = flags & PADDED && n > 0 ? p[0] : 0;
    if (n < skip + padding)
        return PROBE_NO;
    return is_health_check(p + skip, n - skip - padding) ? PROBE_YES : PROBE_NO;
}

/* Frames up to the first HEADERS. Whole ones and nothing behind them: the client waits. */
static enum probe_verdict judge_http2(const uint8_t *p, size_t n) {
    size_t at = sizeof PREFACE - 1;
    if (n <= at)
        return PROBE_MORE;
    while (n - at >= FRAME_HEAD) {
        const uint8_t *head = p + at;
        size_t length = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        if (length > PROBE_PEEK)
            return PROBE_NO;
        if (n - at < FRAME_HEAD + length)
            return PROBE_MORE;
        if (head[3] == HEADERS)
            return judge_headers(head[4], head + FRAME_HEAD, length);
        at += FRAME_HEAD + length;
    }
    return n == at ? PROBE_WAITS : n < PROBE_PEEK ? PROBE_MORE : PROBE_NO;
}

enum probe_verdict probe_judge(const struct want *w, uint16_t port, const uint8_t *p, size_t n) {
    if (p[0] == TLS)
        return PROBE_YES;
    if (expected(w, port, WANT_PROBE_GRPC) && agrees(p, n, PREFACE, sizeof PREFACE - 1))
        return judge_http2(p, n);
    if (expected(w, port, WANT_PROBE_HTTP))
        return judge_http(w, port, (const char *)p, n);
    return PROBE_NO;
}
