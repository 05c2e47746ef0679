/* wordexp(3), whose glibc looks for names by calls of its own: libc's, but what stands unquoted for other names (* ? [) is hidden from it,
 * and is found by our glob(3) afterwards. What a variable's value has of these is taken as it is. musl's asks a shell, which has the
 * layer. */
#include <features.h>

#ifdef __GLIBC__
#include "hook.h"

#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wordexp.h>

#include "libc.h"

static const char special[] = "*?[", hidden[] = "\1\2\3";

/* Behind what is between its first character and its end: `...`, "(...)" and "{...}" with what is in them. */
static const char *behind(const char *at) {
    char open = *at, close = open == '(' ? ')' : open == '{' ? '}' : open;
    for (int depth = 1; depth && *++at;) {
        if (*at == '\\' && at[1])
            at++;
        else if (*at == close)
            depth--;
        else if (*at == open)
            depth++;
    }
    return *at ? at + 1 : at;
}

/* A copy with those that are not quoted hidden; NULL: there are none, or no memory. */
static char *hide(const char *words) {
    char *made = strdup(words), quote = 0;
    bool any = false;
    for (const char *at = words; made && *at; at++) {
        const char *found = *at == '\1' ? NULL : strchr(special, *at);
        bool begins = *at == '$' && (at[1] == '(' || at[1] == '{');
        if (*at == '\\' && quote != '\'' && at[1])
            at++;
        else if (quote != '\'' && (*at == '`' || begins))
            at = behind(at + begins) - 1;
        else if (*at == quote)
            quote = 0;
        else if (!quote && (*at == '\'' || *at == '"'))
            quote = *at;
        else if (!quote && found) {
            made[at - words] = hidden[found - special];
            any = true;
        }
    }
    if (any)
        return made;
    free(made);
    return NULL;
}

/* In place: as it was written. */
static void show(char *word) {
    for (const char *which; *word; word++)
        if ((which = strchr(hidden, *word)))
            *word = special[which - hidden];
}

/* As a pattern: what is not hidden means itself. NULL: no memory. */
static char *pattern_of(const char *word) {
    char *made = malloc(2 * strlen(word) + 1), *to = made;
    for (; made && *word; word++) {
        const char *which = strchr(hidden, *word);
        if (!which && (*word == '\\' || strchr(special, *word)))
            *to++ = '\\';
        *to++ = which ? special[which - hidden] : *word;
    }
    if (made)
        *to = '\0';
    return made;
}

/* Takes the word. */
static bool add(wordexp_t *out, char *word) {
    size_t n = out->we_offs + out->we_wordc;
    char **all = word ? realloc(out->we_wordv, (n + 2) * sizeof *all) : NULL;
    if (!all) {
        free(word);
        return false;
    }
    out->we_wordv = all;
    all[n] = word;
    all[n + 1] = NULL;
    out->we_wordc++;
    return true;
}

static bool add_found(wordexp_t *out, char *word) {
    char *pattern = strpbrk(word, hidden) ? pattern_of(word) : NULL;
    glob_t g = {0};
    bool done = true, found = pattern && glob(pattern, 0, NULL, &g) == 0;
    for (size_t i = 0; found && done && i < g.gl_pathc; i++)
        done = add(out, strdup(g.gl_pathv[i]));
    if (!found) {
        show(word);
        done = add(out, strdup(word));
    }
    globfree(&g);
    free(pattern);
    return done;
}

/* Empty, but for what the flags keep. */
static bool begin(wordexp_t *out, int flags) {
    if (flags & WRDE_REUSE)
        wordfree(out);
    if (flags & WRDE_APPEND && !(flags & WRDE_REUSE))
        return true;
    out->we_wordc = 0;
    out->we_offs = flags & WRDE_DOOFFS ? out->we_offs : 0;
    out->we_wordv = calloc(out->we_offs + 1, sizeof *out->we_wordv);
    return out->we_wordv != NULL;
}

EXPORT int wordexp(const char *restrict words, wordexp_t *restrict out, int flags) {
    char *without = place_active() ? hide(words) : NULL;
    if (!without)
        return REAL(wordexp)(words, out, flags);
    wordexp_t found = {0};
    int result = REAL(wordexp)(without, &found, flags & ~(WRDE_APPEND | WRDE_DOOFFS | WRDE_REUSE));
    free(without);
    if (result != 0)
        return result;
    bool done = begin(out, flags);
    for (size_t i = 0; done && i < found.we_wordc; i++)
        done = add_found(out, found.we_wordv[i]);
    wordfree(&found);
    return done ? 0 : WRDE_NOSPACE;
}
#else
typedef int no_words_here;
#endif
