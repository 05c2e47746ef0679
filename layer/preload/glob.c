/* glob(3) for musl, whose own asks the kernel by calls that no hook sees: as POSIX says it, over our own calls. glibc's takes the
 * calls that it is to use (directory.c).
 *
 * What is found is kept as musl's globfree(3) frees it: each name behind a pointer. */
#include <features.h>

#ifndef __GLIBC__
#include "hook.h"

#include <dirent.h>
#include <fnmatch.h>
#include <glob.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

struct match {
    struct match *next;
    char name[];
};

struct search {
    int flags;
    int (*failed)(const char *path, int why);
    struct match *first, **last;
    size_t count;
    char path[PATH_MAX];
};

static int found(struct search *s, const char *name, bool mark) {
    size_t n = strlen(name);
    struct match *m = malloc(sizeof *m + n + 2);
    if (!m)
        return GLOB_NOSPACE;
    memcpy(m->name, name, n + 1);
    if (mark && n && name[n - 1] != '/')
        memcpy(m->name + n, "/", 2);
    m->next = NULL;
    *s->last = m;
    s->last = &m->next;
    s->count++;
    return 0;
}

/* The end of a pattern: what is there by this path, if it is. */
static int ended(struct search *s) {
    struct stat st;
    if (lstat(s->path, &st) < 0)
        return 0;
    bool mark = s->flags & GLOB_MARK && stat(s->path, &st) == 0 && S_ISDIR(st.st_mode);
    return found(s, s->path, mark);
}

static bool is_pattern(const char *part, size_t n, int flags) {
    for (size_t i = 0; i < n; i++) {
        if (part[i] == '\\' && !(flags & GLOB_NOESCAPE) && i + 1 < n)
            i++;
        else if (part[i] == '*' || part[i] == '?' || part[i] == '[')
            return true;
    }
    return false;
}

/* Appends a part as it is meant; its new end, or 0: too long. */
static size_t append(struct search *s, size_t at, const char *part, size_t n, bool escapes) {
    for (size_t i = 0; i < n; i++) {
        if (escapes && part[i] == '\\' && i + 1 < n)
            i++;
        if (at + 1 >= sizeof s->path)
            return 0;
        s->path[at++] = part[i];
    }
    s->path[at] = '\0';
    return at;
}

static int search(struct search *s, size_t at, const char *pattern);

static int search_folder(struct search *s, size_t at, const char *part, size_t n) {
    char own[NAME_MAX + 1];
    int result = 0, how = (s->flags & GLOB_NOESCAPE ? FNM_NOESCAPE : 0) |
                          (s->flags & GLOB_PERIOD ? 0 : FNM_PERIOD);
    if (n > NAME_MAX)
        return 0;
    memcpy(own, part, n);
    own[n] = '\0';
    DIR *d = opendir(at ? s->path : ".");
    if (!d) {
        bool given_up = (s->failed && s->failed(s->path, errno)) || s->flags & GLOB_ERR;
        return given_up ? GLOB_ABORTED : 0;
    }
    for (struct dirent *e; result == 0 && (e = readdir(d));) {
        if (fnmatch(own, e->d_name, how) != 0)
            continue;
        size_t end = append(s, at, e->d_name, strlen(e->d_name), false);
        if (end)
            result = search(s, end, part + n);
        s->path[at] = '\0';
    }
    closedir(d);
    return result;
}

/* What is left of the pattern, below the path so far. */
static int search(struct search *s, size_t at, const char *pattern) {
    size_t slashes = strspn(pattern, "/"), n = strcspn(pattern + slashes, "/");
    size_t end = append(s, at, pattern, slashes, false);
    if (slashes && !end)
        return 0;
    at = slashes ? end : at;
    pattern += slashes;
    if (n == 0)
        return ended(s);
    if (is_pattern(pattern, n, s->flags))
        return search_folder(s, at, pattern, n);
    end = append(s, at, pattern, n, !(s->flags & GLOB_NOESCAPE));
    return end ? search(s, end, pattern + n) : 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Into the caller's vector, behind what it has to keep. */
static int given(struct search *s, int flags, glob_t *g) {
    size_t offset = flags & GLOB_DOOFFS ? g->gl_offs : 0;
    size_t before = flags & GLOB_APPEND ? g->gl_pathc : 0;
    char **v = realloc(flags & GLOB_APPEND ? g->gl_pathv : NULL,
                       (offset + before + s->count + 1) * sizeof *v);
    if (!v)
        return GLOB_NOSPACE;
    for (size_t i = 0; before == 0 && i < offset; i++)
        v[i] = NULL;
    size_t at = offset + before;
    for (struct match *m = s->first; m; m = m->next)
        v[at++] = m->name;
    v[at] = NULL;
    if (!(flags & GLOB_NOSORT))
        qsort(v + offset + before, s->count, sizeof *v, by_name);
    g->gl_pathv = v;
    g->gl_pathc = before + s->count;
    g->gl_offs = offset;
    return 0;
}

EXPORT int glob(const char *restrict pattern, int flags, int (*failed)(const char *, int),
                glob_t *restrict g) {
    if (!place_active() || (flags & GLOB_TILDE && *pattern == '~'))
        return REAL(glob)(pattern, flags, failed, g);
    struct search *s = malloc(sizeof *s);
    if (!s)
        return GLOB_NOSPACE;
    *s = (struct search){.flags = flags, .failed = failed, .last = &s->first};
    if (!(flags & GLOB_APPEND))
        g->gl_pathv = NULL, g->gl_pathc = 0, g->gl_offs = flags & GLOB_DOOFFS ? g->gl_offs : 0;
    int result = *pattern ? search(s, 0, pattern) : 0;
    if (result == 0 && s->count == 0)
        result = flags & GLOB_NOCHECK ? found(s, pattern, false) : GLOB_NOMATCH;
    int stored = s->count || result == 0 ? given(s, flags, g) : 0;
    if (stored)
        for (struct match *m = s->first, *next; m; m = next) {
            next = m->next;
            free(m);
        }
    free(s);
    return stored ? stored : result;
}

ALSO(glob)
int glob64(const char *restrict, int, int (*)(const char *, int), glob_t *restrict);
#else
typedef int nothing_here; /* ISO C wants a declaration */
#endif
