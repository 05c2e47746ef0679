/* See method.h. */
#include "agent/http/method.h"

#include <string.h>

bool http_method_is_safe(const void *method, size_t n) {
    static const char *const these[] = {"GET", "HEAD", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof these / sizeof *these; i++)
        if (strlen(these[i]) == n && memcmp(these[i], method, n) == 0)
            return true;
    return false;
}
