/* Faults: one formatted sentence in a fixed buffer, and the end of the process for what cannot be. */
#include "fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int fault_set(struct fault *f, int err, const char *format, ...) {
    if (f == NULL)
        return -1;
    f->err = err;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(f->text, sizeof f->text, format, args);
    va_end(args);
    if (n < 0)
        n = 0;
    size_t used = (size_t)n < sizeof f->text ? (size_t)n : sizeof f->text - 1;
    f->text[used] = '\0';
    if (err != 0)
        snprintf(f->text + used, sizeof f->text - used, ": %s", strerror(err));
    return -1;
}

void fault_impossible(const char *file, int line, const char *cond) {
    fprintf(stderr, "mirror-run: %s:%d: this cannot be: %s\n", file, line, cond);
    abort();
}
