/* Which HTTP requests a session wants: any of (all of (a header, the path, the method matches a regular expression)). Knows
 * requests by their parts, and nothing of where they come from: the gate asks it, and a mirror may.
 *
 * What is matched, as mirrord's http_filter does it: a header's text is `Name: value` with one space whatever the wire had;
 * the path is matched without its query and, if that fails, with it; both unanchored and case-insensitive (pattern.h). A
 * term about headers holds if one header matches it (HTTP/2's :authority is one too, as `host`); a filter with two such
 * terms in one group may take two headers.
 *
 * A request is judged piece by piece, so that "no" is known as soon as it is certain: with the request line, if no group
 * could still hold whatever headers come. */
#pragma once

#include "native/fault.h"
#include "native/span.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_FILTER_TERMS 32 /* in all groups together */

enum http_filter_what { HTTP_FILTER_HEADER, HTTP_FILTER_PATH, HTTP_FILTER_METHOD };

struct http_filter;

/* Reads [[[what, regex], …], …], groups of terms, as the control messages have it (msgpack). NULL and a fault: what is not
 * understood, or which expression is refused and why. A filter without groups, or a group without terms, is refused. */
struct http_filter *http_filter_read(struct span *s, struct fault *f);
/* One that takes every request; NULL: no memory. */
struct http_filter *http_filter_everything(struct fault *f);
void http_filter_free(struct http_filter *filter);

/* One request against one filter. Zeroed, it is a request of which nothing is known. */
struct http_filter_match {
    uint32_t held; /* terms that hold: bit for bit */
};

enum http_filter_verdict { HTTP_FILTER_NO, HTTP_FILTER_OPEN, HTTP_FILTER_YES };

/* First the line: a target in any form of RFC 9112 3.2, of which the path and query are taken. */
void http_filter_line(const struct http_filter *filter, struct http_filter_match *m,
                      const char *method, size_t method_n, const char *target, size_t target_n);
void http_filter_header(const struct http_filter *filter, struct http_filter_match *m,
                        const char *name, size_t name_n, const char *value, size_t value_n);
/* After the line. `complete`: all headers were seen, and the answer is YES or NO. */
enum http_filter_verdict http_filter_verdict(const struct http_filter *filter,
                                             const struct http_filter_match *m, bool complete);
