/* Several hundred calls on files, each with what came of it: run inside the target and as the app, the two must say the same.
 *
 * usage: calls DIR [looks]      DIR: an empty directory that may be written; "looks": only what changes nothing
 *
 * No line has anything in it that is not the call's own result: no descriptor numbers, no inodes, no times of now. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#ifdef __GLIBC__
#include <fts.h>
#endif
#include <ftw.h>
#include <glob.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>
#ifdef __GLIBC__
#include <wordexp.h>
#endif

#ifndef __GLIBC__ /* musl 1.2.3 has no functions for these */
#include "layer/preload/libc.h"
#define statx(...)       (int)syscall(SYS_statx, __VA_ARGS__)
#define renameat2(...)   (int)syscall(SYS_renameat2, __VA_ARGS__)
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE  2
#define STATX_MODE       2
#endif

static char dir[PATH_MAX];

static const char *in(const char *name) {
    static char turn[8][PATH_MAX + 8];
    static int n;
    n = (n + 1) % 8;
    snprintf(turn[n], sizeof turn[n], "%s%s%s", dir, *name ? "/" : "", name);
    return turn[n];
}

/* By number: names of errors are not in every libc. */
static void said(const char *call, const char *what, long result) {
    int err = errno;
    if (result < 0)
        printf("%s %s = %ld errno %d\n", call, what, result, err);
    else
        printf("%s %s = %ld\n", call, what, result);
    fflush(stdout);
}

#define SAY(call, what, expression)                                                                \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long result_ = (long)(expression);                                                         \
        said(call, what, result_);                                                                 \
    } while (0)

static const char *names[] = {"file",
                              "empty",
                              "nothing",
                              "sub",
                              "sub/",
                              "sub/deep/leaf",
                              "file/",
                              "file/x",
                              "link",
                              "dangling",
                              "absolute",
                              "loop",
                              "linkdir",
                              "linkdir/",
                              "linkdir/deep/leaf",
                              "up",
                              "sub/../file",
                              "sub/./deep",
                              "no/../file",
                              "sub//deep",
                              "closed/file",
                              "",
                              "..",
                              ".",
                              "odd\xff",
                              "absolutedir/deep/leaf",
                              "outside"};
#define NAMES (sizeof names / sizeof *names)

static long opened(int fd) {
    if (fd < 0)
        return -1;
    char text[64];
    long n = read(fd, text, sizeof text);
    long sum = n < 0 ? -1000 - errno : n;
    for (long i = 0; i < n; i++)
        sum = sum * 31 + (unsigned char)text[i];
    close(fd);
    return sum & 0xffffff;
}

static const struct {
    const char *name;
    int flags;
} modes[] = {{"O_RDONLY", O_RDONLY},
             {"O_DIRECTORY", O_RDONLY | O_DIRECTORY},
             {"O_NOFOLLOW", O_RDONLY | O_NOFOLLOW},
             {"O_PATH", O_PATH},
             {"O_PATH|O_NOFOLLOW", O_PATH | O_NOFOLLOW}};

static void opens(void) {
    char what[PATH_MAX];
    for (size_t i = 0; i < NAMES; i++)
        for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
            snprintf(what, sizeof what, "%s %s", names[i], modes[m].name);
            SAY("open", what, opened(open(in(names[i]), modes[m].flags)));
        }
}

static long shape(int failed, const struct stat *s) {
    if (failed)
        return -1;
    bool is_dir = S_ISDIR(s->st_mode);
    return ((long)s->st_mode * 1000 + (is_dir ? 0 : (long)s->st_nlink)) * 100000 +
           (is_dir ? 0 : s->st_size) + s->st_uid + s->st_gid;
}

static void stats(void) {
    struct stat s;
    for (size_t i = 0; i < NAMES; i++) {
        SAY("stat", names[i], shape(stat(in(names[i]), &s), &s));
        SAY("lstat", names[i], shape(lstat(in(names[i]), &s), &s));
        SAY("fstatat", names[i],
            shape(fstatat(AT_FDCWD, in(names[i]), &s, AT_SYMLINK_NOFOLLOW), &s));
        SAY("access F", names[i], access(in(names[i]), F_OK));
        SAY("access R", names[i], access(in(names[i]), R_OK));
        SAY("access X", names[i], access(in(names[i]), X_OK));
        SAY("faccessat", names[i], faccessat(AT_FDCWD, in(names[i]), R_OK, AT_EACCESS));
        struct statx x;
        errno = 0;
        long done = statx(AT_FDCWD, in(names[i]), 0, STATX_BASIC_STATS, &x);
        said("statx", names[i], done < 0 ? done : (long)x.stx_mode);
    }
}

static void texts(const char *call, const char *what, const char *text) {
    int err = errno;
    if (!text) {
        printf("%s %s = NULL errno %d\n", call, what, err);
        return;
    }
    size_t n = strlen(dir);
    bool below = strncmp(text, dir, n) == 0;
    printf("%s %s = %s%s\n", call, what, below ? "DIR" : "", below ? text + n : text);
}

static void links(void) {
    char text[PATH_MAX];
    for (size_t i = 0; i < NAMES; i++) {
        errno = 0;
        ssize_t n = readlink(in(names[i]), text, sizeof text - 1);
        if (n >= 0)
            text[n] = '\0';
        texts("readlink", names[i], n < 0 ? NULL : text);
        errno = 0;
        char *real = realpath(in(names[i]), NULL);
        texts("realpath", names[i], real);
        free(real);
    }
    errno = 0;
    SAY("readlink short", "absolute", readlink(in("absolute"), text, 3));
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void listed(const char *call, const char *what, char **all, int n) {
    if (n > 0)
        qsort(all, (size_t)n, sizeof *all, by_name);
    printf("%s %s =", call, what);
    for (int i = 0; i < n; i++)
        printf(" %s", all[i]);
    printf("\n");
}

static void directories(void) {
    for (size_t i = 0; i < NAMES; i++) {
        errno = 0;
        DIR *d = opendir(in(names[i]));
        if (!d) {
            texts("opendir", names[i], NULL);
            continue;
        }
        char *all[64];
        int n = 0;
        for (struct dirent *e; n < 64 && (e = readdir(d));)
            all[n++] = strdup(e->d_name);
        closedir(d);
        listed("opendir", names[i], all, n);
        while (n)
            free(all[--n]);
    }
    struct dirent **found;
    errno = 0;
    int n = scandir(in("sub"), &found, NULL, alphasort);
    SAY("scandir", "sub", n);
    for (int i = 0; i < n; i++) {
        printf("  %s\n", found[i]->d_name);
        free(found[i]);
    }
    if (n >= 0)
        free(found);
    SAY("scandir", "nothing", scandir(in("nothing"), &found, NULL, alphasort));
#ifdef __GLIBC__
    int d = open(in("sub"), O_RDONLY | O_DIRECTORY);
    SAY("scandirat", "deep", n = scandirat(d, "deep", &found, NULL, alphasort));
    while (n > 0)
        free(found[--n]);
    if (n == 0)
        free(found);
    SAY("scandirat", "../absolutedir", n = scandirat(d, "../absolutedir", &found, NULL, alphasort));
    SAY("scandirat", "nothing", scandirat(d, "nothing", &found, NULL, alphasort));
    close(d);
#endif
    const char *patterns[] = {"*",  "sub/*/l*f", "nothing*", "[ef]*", "link*/*",
                              "*/", "su\\b/*",   "file",     "no/*",  "d*g"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        glob_t g = {0};
        SAY("glob", patterns[i], glob(in(patterns[i]), 0, NULL, &g));
        for (size_t j = 0; j < g.gl_pathc; j++)
            texts(" ", "", g.gl_pathv[j]);
        globfree(&g);
        SAY("glob mark", patterns[i], glob(in(patterns[i]), GLOB_MARK | GLOB_NOCHECK, NULL, &g));
        SAY("glob append", patterns[i], glob(in("sub/*"), GLOB_APPEND, NULL, &g));
        for (size_t j = 0; j < g.gl_pathc; j++)
            texts(" ", "", g.gl_pathv[j]);
        globfree(&g);
    }
}

#ifdef __GLIBC__
static void words(void) {
    const char *some[] = {"D/*",    "D/[ef]* D/nothing*",  "D/s?b/*/l*f",   "'D/*'",
                          "D/\\*",  "\"D/[ef]*\" D/d*g",   "$V/l*",         "${V}/[!a-k]ub \"$V\"",
                          "D/'e'*", "${W:-D/sub}/d* D/x[", "D/[ef]* 'D/x?'"};
    setenv("V", dir, 1);
    setenv("PWD", dir, 1);
    wordexp_t all = {.we_offs = 2};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        char text[4 * PATH_MAX] = "", *to = text;
        for (const char *at = some[i]; *at; at++) /* D is the folder */
            to = *at == 'D' ? stpcpy(to, dir) : (*to = *at, to[1] = '\0', to + 1);
        int flags = WRDE_DOOFFS | WRDE_NOCMD | (i % 3 == 1 ? WRDE_APPEND : i ? WRDE_REUSE : 0);
        SAY("wordexp", some[i], wordexp(text, &all, flags));
        for (size_t j = 0; j < all.we_wordc; j++)
            texts(" ", "", all.we_wordv[all.we_offs + j]);
    }
    wordfree(&all);
    wordexp_t none = {0};
    SAY("wordexp", "(", wordexp("(", &none, WRDE_NOCMD));
}
#endif

static void streams(void) {
    const char *how[] = {"r", "re", "rb", "q"};
    for (size_t i = 0; i < NAMES; i++)
        for (size_t m = 0; m < 4; m++) {
            char line[64] = "", what[PATH_MAX];
            snprintf(what, sizeof what, "%s %s", names[i], how[m]);
            errno = 0;
            FILE *f = fopen(in(names[i]), how[m]);
            texts("fopen", what, f ? fgets(line, sizeof line, f) ? line : "(no line)\n" : NULL);
            if (f)
                fclose(f);
        }
    FILE *f = fopen(in("file"), "r");
    f = freopen(in("sub/deep/leaf"), "r", f);
    char line[64] = "";
    texts("freopen", "leaf", f ? fgets(line, sizeof line, f) : NULL);
    if (f)
        f = freopen(in("nothing"), "r", f);
    texts("freopen", "nothing", f ? "?" : NULL);
}

static void by_descriptor(void) {
    struct stat s;
    int d = open(in("sub"), O_RDONLY | O_DIRECTORY);
    SAY("openat", "deep/leaf", opened(openat(d, "deep/leaf", O_RDONLY)));
    SAY("openat", "nothing", opened(openat(d, "nothing", O_RDONLY)));
    SAY("openat", "../file", opened(openat(d, "../file", O_RDONLY)));
    SAY("fstatat", "deep", shape(fstatat(d, "deep", &s, 0), &s));
    SAY("fstatat", "empty path", shape(fstatat(d, "", &s, AT_EMPTY_PATH), &s));
    SAY("faccessat", "deep/leaf", faccessat(d, "deep/leaf", R_OK, 0));
    char text[64];
    SAY("readlinkat", "back", readlinkat(d, "back", text, sizeof text));
    SAY("openat", "back", opened(openat(d, "back", O_RDONLY)));
    const char *leading[] = {"../absolute", "../absolutedir/deep/leaf", "../outside", "../sub/deep",
                             ".."};
    for (size_t i = 0; i < sizeof leading / sizeof *leading; i++) {
        SAY("openat", leading[i], opened(openat(d, leading[i], O_RDONLY)));
        SAY("fstatat", leading[i], shape(fstatat(d, leading[i], &s, 0), &s));
        SAY("fstatat nofollow", leading[i],
            shape(fstatat(d, leading[i], &s, AT_SYMLINK_NOFOLLOW), &s));
    }
    SAY("openat", "bad fd", opened(openat(999, "x", O_RDONLY)));
    int f = open(in("file"), O_RDONLY);
    SAY("openat", "of a file", opened(openat(f, "x", O_RDONLY)));
    SAY("lseek", "end", lseek(f, 0, SEEK_END));
    char *map = mmap(NULL, 4, PROT_READ, MAP_PRIVATE, f, 0);
    SAY("mmap", "file", map == MAP_FAILED ? -1 : map[0]);
    close(f);
    close(d);
}

static void working_directory(void) {
    char text[PATH_MAX], back[PATH_MAX];
    struct stat s;
    if (!getcwd(back, sizeof back))
        abort();
    SAY("chdir", "nothing", chdir(in("nothing")));
    SAY("chdir", "file", chdir(in("file")));
    SAY("chdir", "sub", chdir(in("sub")));
    texts("getcwd", "sub", getcwd(text, sizeof text));
    texts("getcwd", "too small", getcwd(text, 2));
    char *made = getcwd(NULL, 0);
    texts("getcwd", "NULL", made);
    free(made);
    SAY("open", "relative deep/leaf", opened(open("deep/leaf", O_RDONLY)));
    SAY("open", "relative ../file", opened(open("../file", O_RDONLY)));
    SAY("open", "relative ../absolute", opened(open("../absolute", O_RDONLY)));
    SAY("open", "relative ../outside", opened(open("../outside", O_RDONLY)));
    SAY("stat", "relative ../absolutedir/deep", shape(stat("../absolutedir/deep", &s), &s));
    SAY("readlink", "relative ../absolute", readlink("../absolute", text, sizeof text));
    SAY("chdir", "relative ../absolutedir", chdir("../absolutedir"));
    texts("getcwd", "absolutedir", getcwd(text, sizeof text));
    SAY("stat", "relative .", shape(stat(".", &s), &s));
    SAY("chdir", "deep", chdir("deep"));
    texts("getcwd", "deep", getcwd(text, sizeof text));
    SAY("chdir", "..", chdir(".."));
    texts("getcwd", "back in sub", getcwd(text, sizeof text));
    made = realpath(".", NULL);
    texts("realpath", ".", made);
    free(made);
    ssize_t n = readlink("/proc/self/cwd", text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    texts("readlink", "/proc/self/cwd", text);
    made = realpath("/proc/self/cwd/deep", NULL);
    texts("realpath", "/proc/self/cwd/deep", made);
    free(made);
    const char *open_ones[] = {"../file", "deep"};
    for (int i = 0; i < 2; i++) {
        char name[32];
        int fd = open(open_ones[i], O_RDONLY);
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        n = readlink(name, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        texts("readlink", "/proc/self/fd of one", text);
        made = realpath(name, NULL);
        texts("realpath", "/proc/self/fd of one", made);
        free(made);
        SAY("stat", "/proc/self/fd of one", shape(stat(name, &s), &s));
        close(fd);
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        texts("getcwd", "in a child", getcwd(text, sizeof text));
        SAY("open", "in a child", opened(open("deep/leaf", O_RDONLY)));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    int d = open(in(""), O_RDONLY | O_DIRECTORY);
    SAY("fchdir", "dir", fchdir(d));
    texts("getcwd", "dir", getcwd(text, sizeof text));
    close(d);
    SAY("chdir", "back", chdir(back));
}

static int walked(const char *path, const struct stat *s, int type, struct FTW *where) {
    (void)s;
    printf("  nftw %s %d level %d base %s\n", path + strlen(dir), type, where->level,
           path + where->base);
    return 0;
}

/* With FTW_CHDIR: where it is called, and that the entry is seen from there. */
static int seen_from(const char *path, const struct stat *s, int type, struct FTW *where) {
    struct stat again;
    char cwd[PATH_MAX] = "";
    (void)s;
    printf("  nftw %s %d seen %d ", *path == '/' ? path + strlen(dir) : path, type,
           lstat(path + where->base, &again));
    bool below = getcwd(cwd, sizeof cwd) && strncmp(cwd, dir, strlen(dir)) == 0;
    texts("from", "", below ? cwd : "elsewhere");
    return strcmp(path + where->base, "leaf") == 0 && where->level == 3 ? 5 : 0;
}

static void moves_about(void) {
    char back[PATH_MAX], now[PATH_MAX];
    if (!getcwd(back, sizeof back))
        abort();
    SAY("nftw chdir", "sub", nftw(in("sub"), seen_from, 8, FTW_PHYS | FTW_CHDIR));
    SAY("nftw chdir", "depth", nftw(in("sub"), seen_from, 8, FTW_PHYS | FTW_CHDIR | FTW_DEPTH));
    SAY("nftw chdir", "file", nftw(in("file"), seen_from, 8, FTW_CHDIR));
    SAY("nftw chdir", "linkdir", nftw(in("linkdir"), seen_from, 8, FTW_CHDIR));
    SAY("nftw chdir", "nothing", nftw(in("no/thing"), seen_from, 8, FTW_CHDIR));
    SAY("nftw chdir", "back", strcmp(getcwd(now, sizeof now), back));
    SAY("chdir", "sub", chdir(in("sub")));
    SAY("nftw chdir", "relative", nftw("deep", seen_from, 8, FTW_CHDIR));
    SAY("nftw chdir", "above", nftw("../sub", seen_from, 8, FTW_CHDIR | FTW_PHYS));
    texts("getcwd", "sub", getcwd(now, sizeof now));
    SAY("chdir", "back", chdir(back));
}

static int stopped(const char *path, const struct stat *s, int type) {
    (void)path, (void)s;
    return type == FTW_D ? 0 : 7;
}

static void walks(void) {
    SAY("nftw", "sub", nftw(in("sub"), walked, 8, FTW_PHYS));
    SAY("nftw", "sub depth", nftw(in("sub"), walked, 8, FTW_PHYS | FTW_DEPTH));
    SAY("nftw", "linkdir", nftw(in("linkdir"), walked, 8, 0));
    SAY("nftw", "closed", nftw(in("closed"), walked, 8, FTW_MOUNT));
    SAY("nftw", "nothing", nftw(in("nothing"), walked, 8, 0));
    SAY("nftw", "dangling", nftw(in("dangling"), walked, 8, 0));
    SAY("ftw", "sub", ftw(in("sub"), stopped, 8));
    moves_about();
}

#ifdef __GLIBC__
static int named(const FTSENT **a, const FTSENT **b) {
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void tree(const char *what, int options) {
    char first[PATH_MAX + 8], second[PATH_MAX + 8];
    snprintf(first, sizeof first, "%s", in("sub"));
    snprintf(second, sizeof second, "%s", in(what));
    FTS *f = fts_open((char *[]){first, second, NULL}, options, named);
    FTSENT *e;
    int n = 0;
    while (f && (e = fts_read(f)) && n++ < 500) {
        struct stat s;
        printf("  fts %s %d level %d name %s", e->fts_path + strlen(dir), e->fts_info, e->fts_level,
               e->fts_name);
        printf(" errno %d", e->fts_info == FTS_DNR || e->fts_info == FTS_NS ? e->fts_errno : 0);
        printf(" size %ld", e->fts_info == FTS_F ? (long)e->fts_statp->st_size : 0L);
        printf(" there %d\n", lstat(e->fts_accpath, &s));
        if (strcmp(e->fts_name, "deep") == 0 && e->fts_info == FTS_D && options & FTS_NOCHDIR)
            fts_set(f, e, FTS_SKIP);
        if (e->fts_info == FTS_SL && options & FTS_COMFOLLOW)
            fts_set(f, e, FTS_FOLLOW);
        if (e->fts_info == FTS_D && strcmp(e->fts_name, "sub") == 0 && options & FTS_SEEDOT)
            for (FTSENT *c = fts_children(f, 0); c; c = c->fts_link)
                printf("    child %s %d\n", c->fts_name, c->fts_info);
    }
    SAY("fts", what, f ? fts_close(f) : -1);
}

static void trees(void) {
    tree("file", FTS_PHYSICAL);
    tree("linkdir", FTS_PHYSICAL | FTS_COMFOLLOW);
    tree("linkdir", FTS_LOGICAL | FTS_NOCHDIR);
    tree("nothing", FTS_PHYSICAL | FTS_SEEDOT);
    tree("dangling", FTS_LOGICAL);
    tree("up", FTS_LOGICAL | FTS_XDEV);
    tree("file", 0);
}
#endif

/* By number, as libuv asks for statx(2). */
static void numbers(void) {
    struct statx x;
    for (size_t i = 0; i < NAMES; i++)
        SAY("syscall statx", names[i],
            syscall(SYS_statx, AT_FDCWD, in(names[i]), AT_SYMLINK_NOFOLLOW, STATX_MODE, &x)
                ? -1
                : (long)x.stx_mode);
    SAY("syscall openat", "file", opened((int)syscall(SYS_openat, AT_FDCWD, in("file"), O_RDONLY)));
    SAY("syscall getppid", "", syscall(SYS_getppid) >= 0);
}

static void watches(void) {
    const char *some[] = {"file", "sub", "nothing", "dangling", "loop", "absolutedir", "file/x"};
    int fd = inotify_init1(IN_NONBLOCK), last = 0;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        SAY("inotify_add_watch", some[i], (last = inotify_add_watch(fd, in(some[i]), IN_OPEN)));
        SAY("inotify_add_watch", "onlydir",
            inotify_add_watch(fd, in(some[i]), IN_OPEN | IN_ONLYDIR));
        SAY("inotify_add_watch", "itself",
            inotify_add_watch(fd, in(some[i]), IN_ATTRIB | IN_DONT_FOLLOW));
    }
    SAY("inotify_rm_watch", "1", inotify_rm_watch(fd, 1));
    SAY("inotify_rm_watch", "99", inotify_rm_watch(fd, 99));
    SAY("inotify_add_watch", "none", inotify_add_watch(999, in("file"), IN_OPEN));
    close(fd);
}

static void systems(void) {
    struct statfs f;
    struct statvfs v;
    SAY("pathconf", "sub", pathconf(in("sub"), _PC_NAME_MAX));
    SAY("pathconf", "nothing", pathconf(in("nothing"), _PC_NAME_MAX));
    SAY("pathconf", "up", pathconf(in("up"), _PC_PATH_MAX));
    SAY("statfs", "file", statfs(in("file"), &f));
    SAY("statfs", "nothing", statfs(in("nothing"), &f));
    SAY("statvfs", "file", statvfs(in("file"), &v));
    SAY("statvfs", "nothing", statvfs(in("nothing"), &v));
}

static void lowest_descriptors(void) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        for (int fd = 0; fd < 64; fd++)
            if (fd != 1)
                close(fd);
        SAY("open", "lowest", open(in("file"), O_RDONLY));
        SAY("open", "second lowest", open(in("file"), O_RDONLY));
        SAY("fcntl", "not close-on-exec", fcntl(0, F_GETFD));
        SAY("fcntl", "close-on-exec", fcntl(open(in("file"), O_RDONLY | O_CLOEXEC), F_GETFD));
        _exit(0);
    }
    waitpid(child, NULL, 0);
}

/* --- sockets by path: somebody who says "hello" listens at `socket` ---------------------------------------------------- */

static long greeted(const char *path, int type) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    errno = 0;
    if (connect(fd, (struct sockaddr *)&name, sizeof name) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        return -1;
    }
    return opened(fd);
}

static void sockets(void) {
    const char *some[] = {"socket",  "tosocket", "sub/../socket", "file",
                          "nothing", "sub",      "file/x"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        SAY("connect", some[i], greeted(in(some[i]), SOCK_STREAM));
    SAY("connect", "packets", greeted(in("socket"), SOCK_SEQPACKET));
    char back[PATH_MAX];
    if (!getcwd(back, sizeof back) || chdir(in("sub")) < 0)
        abort();
    SAY("connect", "relative", greeted("../socket", SOCK_STREAM));
    SAY("chdir", "back", chdir(back));
}

/* --- programs: `tool` is this one, linked statically, and `script` is one of its ------------------------------------------- */

static int told(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        printf(" %s", argv[i] + (strncmp(argv[i], dir, strlen(dir)) == 0 ? strlen(dir) : 0));
    printf(" and %s\n", getenv("CALLS") ? getenv("CALLS") : "nothing");
    return 7;
}

static void ran(const char *call, const char *what, void (*run)(const char *path)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        run(what);
        said(call, what, -1);
        _exit(1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    said(call, what, WEXITSTATUS(status));
}

static char *environment[] = {"CALLS=environment", NULL};
#define ARGUMENTS                                                                                  \
    (char *[]) {                                                                                   \
        "zero", "tell", dir, "more", NULL                                                          \
    }

static void by_execve(const char *path) {
    execve(in(path), ARGUMENTS, environment);
}

static void by_execv(const char *path) {
    execv(in(path), ARGUMENTS);
}

static void by_execl(const char *path) {
    execl(in(path), "zero", "tell", dir, "listed", NULL);
}

static void by_execle(const char *path) {
    execle(in(path), "zero", "tell", dir, NULL, environment);
}

static void by_execvp(const char *name) {
    setenv("PATH", dir, 1);
    execvp(name, ARGUMENTS);
}

static void by_execlp(const char *name) {
    char path[PATH_MAX + 16];
    snprintf(path, sizeof path, "/nowhere:%s/sub:%s", dir, dir);
    setenv("PATH", path, 1);
    execlp(name, "zero", "tell", dir, NULL);
}

static void by_fexecve(const char *path) {
    fexecve(open(in(path), O_RDONLY), ARGUMENTS, environment);
}

static void by_relative_path(const char *path) {
    if (chdir(in("sub")) == 0)
        execve(path, ARGUMENTS, environment);
}

static void by_spawn(const char *path) {
    pid_t child;
    int status = -1;
    errno = posix_spawn(&child, in(path), NULL, NULL, ARGUMENTS, environment);
    if (errno == 0 && waitpid(child, &status, 0) > 0)
        _exit(WEXITSTATUS(status));
}

static void by_spawnp(const char *name) {
    pid_t child;
    int status = -1;
    setenv("PATH", dir, 1);
    errno = posix_spawnp(&child, name, NULL, NULL, ARGUMENTS, environment);
    if (errno == 0 && waitpid(child, &status, 0) > 0)
        _exit(WEXITSTATUS(status));
}

/* What it was started with: where it is, and what it reads. */
static int looked(void) {
    char cwd[PATH_MAX] = "", text[32] = "";
    bool below = getcwd(cwd, sizeof cwd) && strncmp(cwd, dir, strlen(dir)) == 0;
    printf("execed in %s: ", below ? cwd + strlen(dir) : "elsewhere");
    long n = read(0, text, sizeof text - 1);
    text[strcspn(text, "\n")] = '\0';
    printf("%ld %s\n", n, text);
    fflush(stdout);
    return (int)(write(7, "spawned\n", 8) & 0xff);
}

static int acted(const char *path, int flags, const char *where, bool relative) {
    posix_spawn_file_actions_t all;
    pid_t child;
    int status = -1;
    char *arguments[] = {"zero", "look", dir, NULL};
    posix_spawn_file_actions_init(&all);
    posix_spawn_file_actions_addopen(&all, 0, in("sub/deep/leaf"), O_RDONLY, 0);
    if (*path)
        posix_spawn_file_actions_addopen(&all, flags ? 7 : 0, in(path), flags, 0640);
    if (*where)
        posix_spawn_file_actions_addchdir_np(&all, in(where));
    if (relative)
        posix_spawn_file_actions_addopen(&all, 0, "../file", O_RDONLY, 0);
    fflush(stdout);
    int error = posix_spawn(&child, "/proc/self/exe", &all, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&all);
    errno = error;
    return error || waitpid(child, &status, 0) < 0 ? -1 : WEXITSTATUS(status);
}

static void actions(bool changes) {
    const char *some[] = {"file",    "absolute", "outside",    "nothing",
                          "no/file", "loop",     "sub/../link"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++)
        SAY("posix_spawn addopen", some[i], acted(some[i], 0, "", false));
    SAY("posix_spawn addchdir", "sub", acted("", 0, "sub", false));
    SAY("posix_spawn addchdir", "absolutedir", acted("file", 0, "absolutedir", false));
    SAY("posix_spawn addchdir", "file", acted("", 0, "file", false));
    SAY("posix_spawn addchdir", "relative", acted("", 0, "sub", true));
    if (!changes)
        return;
    for (int i = 0; i < 2; i++)
        SAY("posix_spawn addopen", "made",
            acted("by-spawn", O_WRONLY | O_CREAT | (i ? O_APPEND : O_TRUNC), "sub", false));
    SAY("posix_spawn", "what was made", opened(open(in("by-spawn"), O_RDONLY)));
    SAY("posix_spawn addopen", "exclusive",
        acted("by-spawn", O_WRONLY | O_CREAT | O_EXCL, "", false));
    SAY("open", "lowest", open(in("file"), O_RDONLY));
}

static void programs(void) {
    unsetenv("CALLS");
    const char *some[] = {"tool", "script", "absolutetool", "nothing", "file", "sub", "chain"};
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        ran("execve", some[i], by_execve);
        ran("execv", some[i], by_execv);
        ran("execl", some[i], by_execl);
        ran("execle", some[i], by_execle);
        ran("execvp", some[i], by_execvp);
        ran("execlp", some[i], by_execlp);
        ran("posix_spawn", some[i], by_spawn);
        ran("posix_spawnp", some[i], by_spawnp);
    }
    ran("fexecve", "tool", by_fexecve);
    ran("execve relative", "../tool", by_relative_path);
    ran("execve relative", "../absolutetool", by_relative_path);
    ran("execve relative", "../script", by_relative_path);
    ran("execve relative", "../nothing", by_relative_path);
}

/* --- what changes something ------------------------------------------------------------------------------------------- */

static long written(int fd, const char *text) {
    if (fd < 0)
        return -1;
    long n = write(fd, text, strlen(text));
    close(fd);
    return n;
}

static void makes(void) {
    umask(027);
    struct stat s;
    SAY("creat", "new", written(creat(in("new"), 0666), "one\n"));
    SAY("stat", "new", shape(stat(in("new"), &s), &s));
    SAY("open", "new excl", opened(open(in("new"), O_RDWR | O_CREAT | O_EXCL, 0600)));
    SAY("open", "new append", written(open(in("new"), O_WRONLY | O_APPEND), "two\n"));
    SAY("open", "new", opened(open(in("new"), O_RDONLY)));
    SAY("open", "new trunc", written(open(in("new"), O_WRONLY | O_TRUNC), "3\n"));
    SAY("open", "new", opened(open(in("new"), O_RDONLY)));
    SAY("open", "no/new", written(open(in("no/new"), O_WRONLY | O_CREAT, 0600), "x"));
    SAY("open", "sub for writing", written(open(in("sub"), O_WRONLY), "x"));
    SAY("open", "file rw", opened(open(in("file"), O_RDWR)));
    FILE *f = fopen(in("stream"), "w+");
    if (f) {
        fputs("a line\n", f);
        fclose(f);
    }
    SAY("fopen", "stream", opened(open(in("stream"), O_RDONLY)));
    f = fopen(in("stream"), "wx");
    texts("fopen", "wx", f ? "?" : NULL);
    char template[PATH_MAX], *const x = template + strlen(in("t-XXXXXX.c")) - 8;
    snprintf(template, sizeof template, "%s", in("t-XXXXXX.c"));
    SAY("mkstemps", "made", written(mkstemps(template, 2), "x"));
    SAY("mkstemps", "differs", memcmp(x, "XXXXXX", 6) != 0);
    SAY("unlink", "it", unlink(template));
    snprintf(template, sizeof template, "%s", in("d-XXXXXX"));
    SAY("mkdtemp", "made", mkdtemp(template) ? 0 : -1);
    SAY("rmdir", "it", rmdir(template));
    snprintf(template, sizeof template, "%s", in("short-XX"));
    SAY("mkstemp", "no X", mkstemp(template));
    snprintf(template, sizeof template, "%s", in("no/t-XXXXXX"));
    SAY("mkstemp", "no/", mkstemp(template));
    SAY("mkdir", "made", mkdir(in("made"), 0777));
    SAY("stat", "made", shape(stat(in("made"), &s), &s));
    SAY("mkdir", "made again", mkdir(in("made"), 0777));
    SAY("mkdir", "no/made", mkdir(in("no/made"), 0777));
    SAY("mkdir", "file", mkdir(in("file"), 0777));
    SAY("symlink", "new link", symlink("new", in("newlink")));
    SAY("symlink", "exists", symlink("new", in("newlink")));
    SAY("link", "hard", link(in("new"), in("hard")));
    SAY("link", "exists", link(in("new"), in("hard")));
    SAY("link", "nothing", link(in("nothing"), in("hard2")));
    SAY("lstat", "newlink", shape(lstat(in("newlink"), &s), &s));
    SAY("stat", "hard", shape(stat(in("hard"), &s), &s));
}

static void changes(void) {
    struct stat s;
    struct timespec times[2] = {{1000000000, 500}, {1000000001, 600}};
    struct timeval tv[2] = {{1000000002, 5}, {1000000003, 6}};
    struct utimbuf old = {1000000004, 1000000005};
    SAY("truncate", "new", truncate(in("new"), 100));
    SAY("truncate", "sub", truncate(in("sub"), 1));
    SAY("truncate", "nothing", truncate(in("nothing"), 1));
    SAY("chmod", "new", chmod(in("new"), 0640));
    SAY("chmod", "nothing", chmod(in("nothing"), 0640));
    SAY("fchmodat", "new", fchmodat(AT_FDCWD, in("new"), 0604, 0));
    SAY("chown", "new", chown(in("new"), 7, 8));
    SAY("lchown", "newlink", lchown(in("newlink"), 9, 9));
    SAY("chown", "nothing", chown(in("nothing"), 7, 8));
    SAY("stat", "new", shape(stat(in("new"), &s), &s));
    SAY("lstat", "newlink", shape(lstat(in("newlink"), &s), &s));
    SAY("utimensat", "new", utimensat(AT_FDCWD, in("new"), times, 0));
    SAY("mtime", "new", stat(in("new"), &s) ? -1 : s.st_mtim.tv_sec + s.st_mtim.tv_nsec);
    SAY("utimes", "new", utimes(in("new"), tv));
    SAY("mtime", "new", stat(in("new"), &s) ? -1 : s.st_mtim.tv_sec + s.st_mtim.tv_nsec);
    SAY("utime", "new", utime(in("new"), &old));
    SAY("mtime", "new", stat(in("new"), &s) ? -1 : s.st_mtim.tv_sec);
    SAY("utimes", "nothing", utimes(in("nothing"), NULL));
    char value[64] = "";
    SAY("setxattr", "new", setxattr(in("new"), "user.a", "value", 5, 0));
    SAY("setxattr", "exists", setxattr(in("new"), "user.a", "value", 5, XATTR_CREATE));
    SAY("getxattr", "new", getxattr(in("new"), "user.a", value, sizeof value));
    SAY("getxattr", value, getxattr(in("new"), "user.a", NULL, 0));
    SAY("getxattr", "short", getxattr(in("new"), "user.a", value, 2));
    SAY("getxattr", "none", getxattr(in("new"), "user.b", value, sizeof value));
    SAY("listxattr", "new", listxattr(in("new"), value, sizeof value));
    SAY("removexattr", "new", removexattr(in("new"), "user.a"));
    SAY("removexattr", "none", removexattr(in("new"), "user.a"));
}

static void moves(void) {
    struct stat s;
    SAY("rename", "hard to moved", rename(in("hard"), in("moved")));
    SAY("rename", "nothing", rename(in("nothing"), in("moved")));
    SAY("rename", "over a directory", rename(in("moved"), in("made")));
    SAY("rename", "directory", rename(in("made"), in("sub/made")));
    SAY("renameat2", "no replace",
        renameat2(AT_FDCWD, in("moved"), AT_FDCWD, in("new"), RENAME_NOREPLACE));
    SAY("renameat2", "exchange",
        renameat2(AT_FDCWD, in("stream"), AT_FDCWD, in("new"), RENAME_EXCHANGE));
    SAY("stat", "new", shape(stat(in("new"), &s), &s));
    int d = open(in("sub"), O_RDONLY | O_DIRECTORY);
    SAY("renameat", "into made", renameat(AT_FDCWD, in("moved"), d, "made/moved"));
    SAY("unlinkat", "made/moved", unlinkat(d, "made/moved", 0));
    SAY("unlinkat", "made", unlinkat(d, "made", 0));
    SAY("unlinkat", "made dir", unlinkat(d, "made", AT_REMOVEDIR));
    SAY("mkdirat", "made", mkdirat(d, "made", 0700));
    SAY("symlinkat", "made/s", symlinkat("x", d, "made/s"));
    close(d);
    SAY("rmdir", "not empty", rmdir(in("sub/made")));
    SAY("rmdir", "file", rmdir(in("file")));
    SAY("remove", "sub/made/s", remove(in("sub/made/s")));
    SAY("remove", "sub/made", remove(in("sub/made")));
    SAY("unlink", "nothing", unlink(in("nothing")));
    SAY("unlink", "sub", unlink(in("sub")));
    SAY("unlink", "newlink", unlink(in("newlink")));
    int fd = open(in("new"), O_RDONLY);
    SAY("unlink", "open one", unlink(in("new")));
    SAY("read", "deleted but open", opened(fd));
    SAY("remove", "stream", remove(in("stream")));
    directories();
}

int main(int argc, char **argv) {
    if (argc > 2 && strcmp(argv[1], "tell") == 0) {
        snprintf(dir, sizeof dir, "%s", argv[2]);
        return told(argc, argv);
    }
    if (argc > 2 && strcmp(argv[1], "look") == 0) {
        snprintf(dir, sizeof dir, "%s", argv[2]);
        return looked();
    }
    if (argc < 2 || !realpath(argv[1], dir))
        return 2;
    opens();
    stats();
    links();
    directories();
#ifdef __GLIBC__
    words();
#endif
    streams();
    by_descriptor();
    working_directory();
    walks();
#ifdef __GLIBC__
    trees();
#endif
    numbers();
    watches();
    systems();
    lowest_descriptors();
    sockets();
    programs();
    actions(argc <= 2);
    if (argc > 2)
        return 0;
    makes();
    changes();
    moves();
    return 0;
}
