/* Merging two environments: quadratic in their size, which is some hundreds at a program's start. */
#include "environment.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static size_t count_of(char *const *vector) {
    size_t n = 0;
    while (vector[n] != NULL)
        n++;
    return n;
}

/* Length of the name; a string without '=' is all name, as environ(7) tolerates. */
static size_t name_length(const char *variable) {
    return strcspn(variable, "=");
}

static bool same_name(const char *a, const char *b) {
    size_t n = name_length(a);
    return n == name_length(b) && memcmp(a, b, n) == 0;
}

static void put(char **vector, size_t *count, char *variable) {
    for (size_t i = 0; i < *count; i++)
        if (same_name(vector[i], variable)) {
            vector[i] = variable;
            return;
        }
    vector[(*count)++] = variable;
}

static void take_out(char **vector, size_t *count, const char *name) {
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++)
        if (!same_name(vector[i], name))
            vector[kept++] = vector[i];
    for (size_t i = kept; i < *count; i++)
        vector[i] = NULL;
    *count = kept;
}

char **environment_merged(char *const *own, char *const *given) {
    char **merged = calloc(count_of(own) + count_of(given) + 1, sizeof *merged);
    if (merged == NULL)
        return NULL;
    size_t count = 0;
    for (size_t i = 0; own[i] != NULL; i++)
        put(merged, &count, own[i]);
    for (size_t i = 0; given[i] != NULL; i++)
        if (given[i][name_length(given[i])] == '=')
            put(merged, &count, given[i]);
        else
            take_out(merged, &count, given[i]);
    return merged;
}

const char *environment_get(char *const *environment, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; environment[i] != NULL; i++)
        if (name_length(environment[i]) == n && memcmp(environment[i], name, n) == 0)
            return environment[i][n] == '=' ? environment[i] + n + 1 : NULL;
    return NULL;
}
