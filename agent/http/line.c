/* See line.h. */
#include "agent/http/line.h"

#include <string.h>

size_t http_line_clean(char out[HTTP_LINE], const char *line, size_t n) {
    if (n > HTTP_LINE)
        n = HTTP_LINE;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)line[i] < ' ' || line[i] == 0x7f ? '?' : line[i];
    return n;
}

static size_t put(char *out, size_t at, const char *p, size_t n) {
    n = n < HTTP_LINE - at ? n : HTTP_LINE - at;
    if (n > 0)
        memcpy(out + at, p, n);
    return at + n;
}

size_t http_line_made(char out[HTTP_LINE], const char *method, size_t method_n, const char *path,
                      size_t path_n) {
    size_t n = put(out, 0, method, method_n);
    n = put(out, n, " ", 1);
    n = put(out, n, path, path_n);
    n = put(out, n, " HTTP/2", 7);
    return http_line_clean(out, out, n);
}
