/* Invariant: whatever the octets, start_parse says what is wrong or gives a command whose every string ends inside what was
 * allocated for it, with as many as were announced; and it keeps nothing of the octets.
 *
 * Sources: layer/init/start.c native/span.c native/msgpack.c native/fault.c
 */
#include "layer/init/start.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t length_of(char *const *vector) {
    size_t octets = 0;
    for (; *vector != NULL; vector++)
        octets += strlen(*vector) + 1;
    return octets;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct fault f = {.text = ""};
    struct start s;
    uint8_t *own = malloc(n + 1);
    if (own == NULL)
        return 0;
    memcpy(own, p, n);
    int result = start_parse(own, n, &s, &f);
    free(own);
    if (result != 0) {
        if (f.text[0] == '\0')
            abort();
        return 0;
    }
    size_t octets = length_of(s.argv) + length_of(s.environ) + strlen(s.name) + strlen(s.home) +
                    strlen(s.cwd) + 3;
    if (octets > n || s.argv[0] == NULL || s.argv[0][0] == '\0')
        abort();
    for (size_t i = 0; i < s.group_count; i++)
        if (s.groups[i] == (gid_t)-1)
            abort();
    start_free(&s);
    return 0;
}
