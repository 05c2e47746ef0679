/* See gate_corpus.h. */
#include "gate_corpus.h"

#include <stdio.h>
#include <string.h>

static const char *const lines[9] = {
    "GET / HTTP/1.1",
    "GET /cart?item=7&q=%20x HTTP/1.1",
    "HEAD /head HTTP/1.1",
    "POST /orders HTTP/1.1",
    "PUT http://cart.example/absolute HTTP/1.1",
    "DELETE /a//b/../c HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "PATCH /~!$&'()*+,;=:@{}|^[] HTTP/1.1",
    "PROPFIND /dav HTTP/1.1",
};

/* As found in the wild: case, spaces, order, repetition and octets that a proxy would have changed. */
static const char *const headers[4] = {
    "Host: cart\r\n",
    "hOsT:cart.example:8080\r\nAccept:   */*\t \r\nX-Empty:\r\nX-Empty: \r\n",
    "ACCEPT: a\r\naccept: b\r\nHost: x\r\nCookie: a=b; c=\"d\"\r\nCookie: e=f\r\n"
    "X-Latin: caf\xe9 \xff\x80\r\nConnection: keep-alive, x-hop\r\n",
    "Host: [fd00::1]:80\r\nConnection: Keep-Alive\r\nUser-Agent: curl/7.88.1\r\n"
    "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nTE: trailers\r\n",
};

static const struct {
    const char *headers, *body;
} bodies[9] = {
    {"", ""},
    {"Content-Length: 0\r\n", ""},
    {"Content-Length: 11\r\n", "hello\r\nGET "},
    {"content-LENGTH:   3  \r\n", "\r\n\r"},
    {"Transfer-Encoding: chunked\r\n", "0\r\n\r\n"},
    {"transfer-encoding: CHUNKED\r\n", "5\r\nhello\r\n00A\r\n0123456789\r\n0\r\n\r\n"},
    {"Transfer-Encoding:chunked\r\nTrailer: x-sum\r\n",
     "1;name=\"value; x\"\r\n\n\r\n0000;y\r\nX-Sum: 1\r\nx-other:  2 \r\n\r\n"},
    {"Expect: 100-continue\r\nContent-Length: 5\r\n", "12345"},
    {"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: upgrade\r\n", ""},
};

static const char *const spellings[4] = {
    "x-for: anna\r\n",
    "X-FOR:anna\r\n",
    "X-For:  \t anna \t\r\n",
    "x-foR: ANNA\r\n",
};

size_t corpus_plain(unsigned i, uint8_t out[8192], bool *ours) {
    unsigned line = i % 9, set = i / 9 % 4, body = i / 36 % 9;
    *ours = i / 324 % 2;
    size_t n = (size_t)snprintf((char *)out, 8192, "%s\r\n", lines[line]);
    n += (size_t)snprintf((char *)out + n, 8192 - n, "%s%s%s\r\n", headers[set],
                          *ours ? spellings[(line + set) % 4] : "x-for: bert\r\n",
                          bodies[body].headers);
    memcpy(out + n, bodies[body].body, strlen(bodies[body].body));
    return n + strlen(bodies[body].body);
}

#define INTERIM "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

static const char *const answers[7] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n",
    INTERIM "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n\n",
    "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
    "HTTP/1.1 500 Oh\nContent-Length: 3\n\nbad",
};

size_t corpus_answer(unsigned i, uint8_t out[8192]) {
    const char *text = answers[i % 7];
    if (i % 9 == 2) /* HEAD: what a body would have been is only said */
        text = "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n";
    memcpy(out, text, strlen(text));
    return strlen(text);
}

#define ODD(name, text)                                                                            \
    { name, text, sizeof text - 1 }
#define A "x-for: anna\r\n"

const struct corpus_odd corpus_odd[] = {
    ODD("length and chunks", "POST / HTTP/1.1\r\nHost: a\r\n" A
                             "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG"),
    ODD("chunks and length", "POST / HTTP/1.1\r\nHost: a\r\n" A
                             "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG"),
    ODD("two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
    ODD("two equal lengths",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    ODD("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 1, 1\r\n\r\na"),
    ODD("a signed length", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: +1\r\n\r\na"),
    ODD("a negative length", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: -1\r\n\r\na"),
    ODD("a hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 0x1\r\n\r\na"),
    ODD("a length too long",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 18446744073709551617\r\n\r\na"),
    ODD("an empty length", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content-Length:\r\n\r\na"),
    ODD("two codings", "POST / HTTP/1.1\r\nHost: a\r\n" A
                       "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ODD("identity", "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding: identity\r\n\r\n"),
    ODD("gzip, chunked",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ODD("xchunked",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ODD("chunked with a tail",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding: chunked;x\r\n\r\n0\r\n\r\n"),
    ODD("chunked in 1.0", "POST / HTTP/1.0\r\n" A "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ODD("a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ODD("an underscore", "POST / HTTP/1.1\r\nHost: a\r\n" A "Content_Length: 1\r\n\r\na"),
    ODD("a vertical tab in a coding", "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding: \x0b"
                                      "chunked\r\n\r\n0\r\n\r\n"),
    ODD("a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n" A "\r\n"),
    ODD("a folded first header", "GET / HTTP/1.1\r\n Host: a\r\n" A "\r\n"),
    ODD("a folded coding",
        "POST / HTTP/1.1\r\nHost: a\r\n" A "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ODD("a bare LF behind the line", "GET / HTTP/1.1\nHost: a\r\n" A "\r\n"),
    ODD("a bare LF behind a header", "GET / HTTP/1.1\r\nHost: a\n" A "\r\n"),
    ODD("a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n" A "\n"),
    ODD("all bare LF", "GET / HTTP/1.1\nHost: a\nx-for: anna\n\n"),
    ODD("a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r2\r\n" A "\r\n"),
    ODD("a bare CR for a line's end", "GET / HTTP/1.1\rHost: a\r" A "\r\n"),
    ODD("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n" A "\r\n"),
    ODD("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n" A "\r\n"),
    ODD("a NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a NUL in the method", "GET\0 / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("DEL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n" A "\r\n"),
    ODD("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n" A "\r\n"),
    ODD("two equal hosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n" A "\r\n"),
    ODD("no host", "GET / HTTP/1.1\r\n" A "\r\n"),
    ODD("an empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n" A "\r\n"),
    ODD("no colon", "GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n" A "\r\n"),
    ODD("a name with a space", "GET / HTTP/1.1\r\nHost: a\r\nx y: z\r\n" A "\r\n"),
    ODD("a name that is no token", "GET / HTTP/1.1\r\nHost: a\r\nx(y): z\r\n" A "\r\n"),
    ODD("an empty line first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a tab for a space", "GET\t/ HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a space behind the version", "GET / HTTP/1.1 \r\nHost: a\r\n" A "\r\n"),
    ODD("octets over 127 in the target", "GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n" A "\r\n"),
    ODD("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n" A "\r\n"),
    ODD("version 0.9", "GET /\r\n"),
    ODD("version in lower case", "GET / http/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a method in lower case", "get / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("an unknown method", "FROB / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a long method", "GETGETGETGETGETGETGETGET / HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("no target", "GET HTTP/1.1\r\nHost: a\r\n" A "\r\n"),
    ODD("a length with CONNECT",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n" A "Content-Length: 1\r\n\r\n"),
    ODD("Redis", "*1\r\n$4\r\nPING\r\n"),
    ODD("Redis, inline", "PING\r\n"),
    ODD("PostgreSQL", "\0\0\0\x08\x04\xd2\x16\x2f"),
    ODD("SSH", "SSH-2.0-OpenSSH_9.2\r\n"),
    ODD("MQTT", "\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0"),
    ODD("TLS", "\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03"),
    ODD("PROXY protocol",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
};
const size_t corpus_odds = sizeof corpus_odd / sizeof *corpus_odd;

size_t corpus_odd_copy(unsigned i, uint8_t out[8192]) {
    if (i >= corpus_odds)
        return 0;
    memcpy(out, corpus_odd[i].octets, corpus_odd[i].n);
    return corpus_odd[i].n;
}
