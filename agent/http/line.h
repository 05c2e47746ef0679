/* A request's first line, as people are shown it: cut, and without control characters, whoever sent it. */
#pragma once

#include <stddef.h>

#define HTTP_LINE 200 /* octets at most */

/* How many octets `out` has then; it is not terminated. */
size_t http_line_clean(char out[HTTP_LINE], const char *line, size_t n);
/* That of a request that is known by its parts, as HTTP/2's are. */
size_t http_line_made(char out[HTTP_LINE], const char *method, size_t method_n, const char *path,
                      size_t path_n);
