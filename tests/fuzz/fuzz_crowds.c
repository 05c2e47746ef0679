/* Invariant: whatever is asked of whatever folders, one is listed after no fewer than CROWDS_FEW questions that cost a round trip each;
 * what is to be listed is what was asked for; and all memory is given back.
 *
 * The input: a sequence of deeds, two octets each: which, and of what folder or after what time.
 *
 * Sources: layer/files/crowds.c
 */
#include "layer/files/crowds.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t name_of(char name[8], uint8_t number) {
    memset(name, 'a' + number / 6, 1u + number % 6);
    return 1u + number % 6;
}

static void missed(struct crowds *c, uint32_t *since, uint64_t now, const char *name, size_t len) {
    const struct crowd *due = crowds_missed(c, now, name, len);
    ++*since;
    if (!due)
        return;
    if (due->len != len || memcmp(due->folder, name, len) != 0 || *since < CROWDS_FEW)
        abort();
    *since = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static uint32_t since[256]; /* questions, by the folder's number */
    struct crowds c = {0};
    uint64_t now = 1;
    memset(since, 0, sizeof since);
    for (; n >= 2; p += 2, n -= 2) {
        char name[8];
        size_t len = name_of(name, p[1]);
        switch (p[0] % 4) {
        case 0:
            missed(&c, &since[p[1]], now, name, len);
            break;
        case 1:
            crowds_known(&c, now, name, len);
            break;
        case 2:
            crowds_told(&c, name, len, p[0], now);
            break;
        default:
            now += (uint64_t)p[1] * 20000000u;
        }
    }
    crowds_clear(&c);
    return 0;
}
