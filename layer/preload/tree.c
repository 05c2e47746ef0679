/* fts(3), whose glibc walks by calls of its own: the same walk over our own calls, and without chdir(2), which BSD's leaves open:
 * fts_accpath is fts_path. musl has none of its own; its port calls what is hooked. */
#include <features.h>

#ifdef __GLIBC__
#include "hook.h"

#include <dirent.h>
#include <fts.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "libc.h"

typedef int order(const FTSENT **, const FTSENT **);

static bool is_dots(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* --- an entry: the struct, its stat and its path in one piece of memory ---------------------------------------------------- */

static void *entry_free(FTSENT *e) {
    FTSENT *next = e->fts_link;
    free(e->fts_statp);
    free(e->fts_path);
    free(e);
    return next;
}

static void list_free(FTSENT *e) {
    while (e)
        e = entry_free(e);
}

static FTSENT *entry_new(FTS *f, FTSENT *parent, const char *folder, const char *name) {
    size_t n = strlen(name), above = strlen(folder);
    bool slash = above && folder[above - 1] != '/';
    FTSENT *e = calloc(1, sizeof *e + n + 1);
    if (e) {
        e->fts_path = malloc(above + slash + n + 1);
        e->fts_statp = calloc(1, sizeof *e->fts_statp);
    }
    if (!e || !e->fts_path || !e->fts_statp || above + slash + n > USHRT_MAX) {
        if (e)
            entry_free(e);
        return NULL;
    }
    char *at = stpcpy(e->fts_path, folder);
    if (slash)
        *at++ = '/';
    memcpy(at, name, n + 1);
    memcpy(e->fts_name, name, n + 1);
    e->fts_accpath = e->fts_path;
    e->fts_pathlen = (unsigned short)(above + slash + n);
    e->fts_namelen = (unsigned short)n;
    e->fts_parent = parent;
    e->fts_level = (short)(parent->fts_level + 1);
    e->fts_instr = FTS_NOINSTR;
    (void)f;
    return e;
}

static unsigned short type_of(FTSENT *e) {
    const struct stat *s = e->fts_statp;
    e->fts_dev = s->st_dev;
    e->fts_ino = s->st_ino;
    e->fts_nlink = s->st_nlink;
    if (!S_ISDIR(s->st_mode))
        return S_ISLNK(s->st_mode) ? FTS_SL : S_ISREG(s->st_mode) ? FTS_F : FTS_DEFAULT;
    if (e->fts_level > FTS_ROOTLEVEL && is_dots(e->fts_name))
        return FTS_DOT;
    for (FTSENT *up = e->fts_parent; up && up->fts_level >= FTS_ROOTLEVEL; up = up->fts_parent)
        if (up->fts_ino == s->st_ino && up->fts_dev == s->st_dev) {
            e->fts_cycle = up;
            return FTS_DC;
        }
    return FTS_D;
}

static unsigned short look(FTSENT *e, bool follow) {
    if (follow ? stat(e->fts_path, e->fts_statp) == 0 : lstat(e->fts_path, e->fts_statp) == 0)
        return type_of(e);
    int why = errno;
    if (follow && lstat(e->fts_path, e->fts_statp) == 0) {
        errno = 0;
        return FTS_SLNONE;
    }
    e->fts_errno = why;
    memset(e->fts_statp, 0, sizeof *e->fts_statp);
    return FTS_NS;
}

/* --- a list of them ----------------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b, void *by) {
    return ((order *)(uintptr_t)by)((const FTSENT **)(uintptr_t)a, (const FTSENT **)(uintptr_t)b);
}

static FTSENT *sorted(FTS *f, FTSENT *first, size_t n) {
    FTSENT **all = f->fts_compar && n > 1 ? malloc(n * sizeof *all) : NULL, *e = first;
    if (!all)
        return first;
    for (size_t i = 0; i < n; i++, e = e->fts_link)
        all[i] = e;
    qsort_r(all, n, sizeof *all, compare, (void *)(uintptr_t)f->fts_compar);
    for (size_t i = 0; i < n; i++)
        all[i]->fts_link = i + 1 < n ? all[i + 1] : NULL;
    first = all[0];
    free(all);
    return first;
}

/* What is in a folder; NULL: nothing, or fts_info and fts_errno of the folder say what is wrong. */
static FTSENT *children(FTS *f, FTSENT *folder) {
    DIR *d = opendir(folder->fts_path);
    FTSENT *first = NULL, **last = &first;
    size_t n = 0;
    if (!d) {
        folder->fts_info = FTS_DNR;
        folder->fts_errno = errno;
        return NULL;
    }
    for (struct dirent *one; (one = readdir(d));) {
        if (!(f->fts_options & FTS_SEEDOT) && is_dots(one->d_name))
            continue;
        FTSENT *e = entry_new(f, folder, folder->fts_path, one->d_name);
        if (!e) {
            list_free(first);
            closedir(d);
            folder->fts_info = FTS_ERR;
            folder->fts_errno = ENOMEM;
            return NULL;
        }
        e->fts_info = look(e, f->fts_options & FTS_LOGICAL);
        if (f->fts_options & FTS_NOSTAT && e->fts_info != FTS_D && e->fts_info != FTS_DC)
            e->fts_info = FTS_NSOK;
        *last = e;
        last = &e->fts_link;
        n++;
    }
    closedir(d);
    return sorted(f, first, n);
}

/* --- the walk ------------------------------------------------------------------------------------------------------------------- */

static FTSENT *taken(FTS *f, FTSENT *e) {
    f->fts_cur = e;
    f->fts_dev = e->fts_level == FTS_ROOTLEVEL ? e->fts_dev : f->fts_dev;
    return e;
}

static bool is_left_out(const FTS *f, const FTSENT *e, int instruction) {
    return instruction == FTS_SKIP ||
           (f->fts_options & FTS_XDEV && e->fts_level > FTS_ROOTLEVEL && e->fts_dev != f->fts_dev);
}

/* The entry behind this one, on its level or above. */
static FTSENT *onward(FTS *f, FTSENT *e) {
    for (;;) {
        FTSENT *parent = e->fts_parent, *next = entry_free(e);
        if (!next && parent->fts_level < FTS_ROOTLEVEL) {
            free(parent);
            f->fts_cur = NULL;
            errno = 0;
            return NULL;
        }
        if (!next) {
            if (parent->fts_info == FTS_D)
                parent->fts_info = FTS_DP;
            return taken(f, parent);
        }
        int instruction = next->fts_instr;
        next->fts_instr = FTS_NOINSTR;
        if (instruction == FTS_FOLLOW)
            next->fts_info = look(next, true);
        if (instruction != FTS_SKIP)
            return taken(f, next);
        e = next;
    }
}

EXPORT FTSENT *fts_read(FTS *f) {
    if (!place_active())
        return REAL(fts_read)(f);
    FTSENT *e = f->fts_cur;
    if (!e)
        return NULL;
    int instruction = e->fts_instr;
    e->fts_instr = FTS_NOINSTR;
    if (e->fts_info == FTS_INIT) { /* ahead of the first: a mark, and the roots behind it */
        FTSENT *first = e->fts_link, *top = e->fts_parent;
        free(e);
        if (first)
            return taken(f, first);
        free(top);
        f->fts_cur = NULL;
        return NULL;
    }
    if (instruction == FTS_AGAIN ||
        (instruction == FTS_FOLLOW && (e->fts_info == FTS_SL || e->fts_info == FTS_SLNONE))) {
        e->fts_info = look(e, instruction == FTS_FOLLOW || f->fts_options & FTS_LOGICAL);
        return e;
    }
    if (e->fts_info != FTS_D)
        return onward(f, e);
    FTSENT *below = f->fts_child;
    f->fts_child = NULL;
    if (is_left_out(f, e, instruction)) {
        list_free(below);
        e->fts_info = FTS_DP;
        return e;
    }
    below = below ? below : children(f, e);
    if (below)
        return taken(f, below);
    if (e->fts_info == FTS_D)
        e->fts_info = FTS_DP;
    return e;
}

EXPORT FTSENT *fts_children(FTS *f, int how) {
    if (!place_active())
        return REAL(fts_children)(f, how);
    FTSENT *e = f->fts_cur;
    if (how != 0 && how != FTS_NAMEONLY) {
        errno = EINVAL;
        return NULL;
    }
    errno = 0;
    if (e && e->fts_info == FTS_INIT)
        return e->fts_link;
    if (!e || e->fts_info != FTS_D)
        return NULL;
    list_free(f->fts_child);
    f->fts_child = children(f, e);
    errno = e->fts_info == FTS_D ? 0 : e->fts_errno;
    return f->fts_child;
}

EXPORT int fts_set(FTS *f, FTSENT *e, int instruction) {
    (void)f;
    if (instruction < 0 || instruction > FTS_SKIP) {
        errno = EINVAL;
        return 1;
    }
    e->fts_instr = (unsigned short)instruction;
    return 0;
}

/* --- its life --------------------------------------------------------------------------------------------------------------- */

EXPORT int fts_close(FTS *f) {
    if (!place_active())
        return REAL(fts_close)(f);
    list_free(f->fts_child);
    for (FTSENT *e = f->fts_cur, *up; e; e = up) {
        up = e->fts_parent;
        bool is_top = e->fts_level < FTS_ROOTLEVEL && e->fts_info != FTS_INIT;
        if (is_top || e->fts_info == FTS_INIT) {
            if (e->fts_info == FTS_INIT)
                list_free(e->fts_link);
            free(e);
        } else {
            list_free(e);
        }
    }
    free(f);
    return 0;
}

static FTSENT *roots(FTS *f, char *const *paths, FTSENT *top) {
    FTSENT *first = NULL, **last = &first;
    size_t n = 0;
    for (; *paths; paths++, n++) {
        FTSENT *e = **paths ? entry_new(f, top, "", *paths) : NULL;
        if (!e) {
            list_free(first);
            errno = **paths ? ENOMEM : ENOENT;
            return NULL;
        }
        e->fts_info = look(e, f->fts_options & (FTS_COMFOLLOW | FTS_LOGICAL));
        const char *part = strrchr(e->fts_name, '/');
        if (part && (part != e->fts_name || part[1])) { /* named by its last part */
            e->fts_namelen = (unsigned short)strlen(part + 1);
            memmove(e->fts_name, part + 1, e->fts_namelen + 1u);
        }
        if (e->fts_info == FTS_DOT)
            e->fts_info = FTS_D;
        *last = e;
        last = &e->fts_link;
    }
    return sorted(f, first, n);
}

EXPORT FTS *fts_open(char *const *paths, int options, order *by) {
    if (!place_active())
        return REAL(fts_open)(paths, options, by);
    if (options & ~FTS_OPTIONMASK) {
        errno = EINVAL;
        return NULL;
    }
    FTS *f = calloc(1, sizeof *f);
    FTSENT *top = calloc(1, sizeof *top), *mark = calloc(1, sizeof *mark);
    if (f && top && mark) {
        f->fts_options = options | FTS_NOCHDIR;
        f->fts_compar = (__typeof__(f->fts_compar))(uintptr_t)by;
        top->fts_level = mark->fts_level = FTS_ROOTPARENTLEVEL;
        mark->fts_info = FTS_INIT;
        mark->fts_parent = top;
        f->fts_cur = mark;
        mark->fts_link = roots(f, paths, top);
        if (mark->fts_link)
            return f;
    }
    free(f);
    free(top);
    free(mark);
    return NULL;
}

ALSO(fts_open)
FTS64 *fts64_open(char *const *, int, int (*)(const FTSENT64 **, const FTSENT64 **));
ALSO(fts_read) FTSENT64 *fts64_read(FTS64 *);
ALSO(fts_children) FTSENT64 *fts64_children(FTS64 *, int);
ALSO(fts_set) int fts64_set(FTS64 *, FTSENT64 *, int);
ALSO(fts_close) int fts64_close(FTS64 *);
#else
typedef int no_fts_here;
#endif
