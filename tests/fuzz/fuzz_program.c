/* Invariant: whatever a file begins with, it is one of the kinds; of a script alone comes an interpreter's name, which is a part
 * of the first line, without blanks, and ends within what the kernel looks at. A file is not looked at beyond its end.
 *
 * Sources: layer/preload/program.c
 */
#include "layer/preload/program.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    char interpreter[PROGRAM_SHEBANG];
    uint8_t *own = malloc(n + !n); /* of its exact length: who reads on is caught */
    if (own == NULL)
        return 0;
    memcpy(own, p, n);
    memset(interpreter, '#', sizeof interpreter);
    enum program kind = program_of(own, n, interpreter);
    if (kind == PROGRAM_SCRIPT) {
        const char *end = memchr(interpreter, '\0', sizeof interpreter);
        size_t len = end == NULL ? 0 : (size_t)(end - interpreter);
        if (len == 0 || strpbrk(interpreter, " \t\n") != NULL || n < len + 2 ||
            memmem(own, n, interpreter, len) == NULL)
            abort();
    } else if (interpreter[0] != '#' || interpreter[sizeof interpreter - 1] != '#')
        abort();
    if ((kind == PROGRAM_LAYERED || kind == PROGRAM_BARE) && memcmp(own, "\177ELF", 4) != 0)
        abort();
    free(own);
    return 0;
}
