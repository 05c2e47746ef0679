/* One regular expression, matched in time linear in the text whatever the expression: RE2 (github.com/google/re2), of which
 * this is all that C sees. Perl's syntax without back references and look-around, which no linear engine has.
 *
 * Octets are matched as octets (RE2's Latin-1), so that a header that is no UTF-8 is matched too, and a literal written in
 * UTF-8 matches the same octets. Case-insensitive (ASCII), unanchored. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

struct fault;
struct pattern;

#define PATTERN_LONGEST 1024    /* octets of an expression */
#define PATTERN_MEMORY  1048576 /* octets that one compiled expression and its caches may have */

/* NULL and a fault that says what is wrong, and where if RE2 says so. `text` is copied and need not be terminated. */
struct pattern *pattern_new(const char *text, size_t n, struct fault *f);
void pattern_free(struct pattern *p);
bool pattern_matches(const struct pattern *p, const char *text, size_t n);

#ifdef __cplusplus
}
#endif
