/* Whether octets begin with the head of an HTTP/1 request that no two servers read differently (RFC 9112), and where it says
 * the body ends. A recogniser, not a parser: it changes nothing, keeps no octet, and its answer to everything that a server
 * might be lenient about is "no".
 *
 * Why no library: what is wanted is the opposite of what parsers are made for. llhttp and its elder http-parser accept what
 * is found in the wild (bare LF, folded lines, lists of equal lengths, spaces in odd places), each version something else;
 * here every doubt must be seen, because a request that the gate and the target delimit differently is how one client's
 * octets get into another's answer. What is refused costs nothing: it goes to the target as it came. A test compares what is
 * accepted here with llhttp.
 *
 * Methods are those that are registered (IANA) or in common use: an unknown one is told from another protocol's first
 * octets by nothing, and that protocol's client may be waiting for an answer to just these. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum http1_head_is {
    HTTP1_HEAD_MORE,   /* so far it can become one */
    HTTP1_HEAD_LINE,   /* the request line is known: method, target, minor */
    HTTP1_HEAD_HEADER, /* a header is: name and value */
    HTTP1_HEAD_DONE,   /* `length` octets are the head, the empty line included */
    HTTP1_HEAD_BAD,
};

/* Places are offsets from where the request begins. All zero at a request's beginning. */
struct http1_head {
    uint32_t at, line; /* looked at; where that line begins */
    bool in_headers;
    uint8_t minor;
    uint16_t method_n;
    uint32_t target_at, target_n;
    uint32_t name_at, name_n, value_at, value_n;
    bool host, sized, chunked, close, keep_alive, upgrade, connect, head;
    uint64_t size; /* of the body, if `sized` */
    uint32_t length;
};

/* Goes on with the request that begins at `p`, of which n octets are there; to be called again after every answer but BAD
 * and DONE, with at least the same octets. */
enum http1_head_is http1_head_step(struct http1_head *h, const uint8_t *p, size_t n);

/* `n` octets, whole lines, were taken away from the request's beginning. */
void http1_head_taken(struct http1_head *h, size_t n);

/* A token (RFC 9110 5.6.2) of lower case `word` in a comma-separated value. */
bool http1_lists(const uint8_t *value, size_t n, const char *word);
/* Whether the name is this one of lower case, whatever its case; an underscore stands for a hyphen too. */
bool http1_named(const uint8_t *name, size_t n, const char *lower);
bool http1_is_token(uint8_t c);
bool http1_is_text(uint8_t c); /* of a header's value: no control character but the tabulator */
/* All digits, at most 18. */
bool http1_number(const uint8_t *p, size_t n, uint64_t *v);
