/* passwd(5) and group(5) read line by line, so that the static program needs no nsswitch; nothing here follows a library. */
#include "account.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct table {
    bool exists, knows_id, knows_name, ends_in_newline;
};

/* Looks for `id` in the third field and `name` in the first; the same in both files. */
static int look(const char *path, const char *name, unsigned id, struct table *out,
                struct fault *f) {
    *out = (struct table){.ends_in_newline = true};
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return errno == ENOENT ? 0 : fault_set(f, errno, "read %s", path);
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    out->exists = true;
    while ((n = getline(&line, &capacity, file)) > 0) {
        out->ends_in_newline = line[n - 1] == '\n';
        char *rest = line;
        const char *first = strsep(&rest, ":");
        strsep(&rest, ":");
        const char *third = strsep(&rest, ":\n");
        char *end;
        if (third == NULL || *third == '\0')
            continue;
        unsigned long number = strtoul(third, &end, 10);
        out->knows_id |= *end == '\0' && number == id;
        out->knows_name |= strcmp(first, name) == 0;
    }
    free(line);
    fclose(file);
    return 0;
}

static int append(const char *path, const struct table *t, const char *line, struct fault *f) {
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return fault_set(f, errno, "write %s", path);
    bool written = (t->ends_in_newline || write(fd, "\n", 1) == 1) &&
                   write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    int err = errno;
    close(fd);
    return written ? 0 : fault_set(f, err, "write %s", path);
}

/* The name, or "name-ID" where it belongs to somebody else. */
static void choose_name(const struct table *t, const char *name, unsigned id, char *out,
                        size_t size) {
    if (t->knows_name)
        snprintf(out, size, "%s-%u", name, id);
    else
        snprintf(out, size, "%s", name);
}

int account_enter(const char *root, const char *name, uid_t uid, gid_t gid, const char *home,
                  struct fault *f) {
    char path[PATH_MAX], line[PATH_MAX + 512], chosen[300];
    struct table t;
    snprintf(path, sizeof path, "%s/etc", root);
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return fault_set(f, errno, "make %s", path);
    snprintf(path, sizeof path, "%s/etc/passwd", root);
    if (look(path, name, uid, &t, f) != 0)
        return -1;
    if (!t.knows_id) {
        choose_name(&t, name, uid, chosen, sizeof chosen);
        snprintf(line, sizeof line, "%s:x:%u:%u::%s:/bin/sh\n", chosen, uid, gid,
                 *home ? home : "/");
        if (append(path, &t, line, f) != 0)
            return -1;
    }
    snprintf(path, sizeof path, "%s/etc/group", root);
    if (look(path, name, gid, &t, f) != 0)
        return -1;
    if (t.knows_id)
        return 0;
    choose_name(&t, name, gid, chosen, sizeof chosen);
    snprintf(line, sizeof line, "%s:x:%u:\n", chosen, gid);
    return append(path, &t, line, f);
}

int account_directories(const char *path) {
    char part[PATH_MAX];
    if (*path != '/' || (size_t)snprintf(part, sizeof part, "%s", path) >= sizeof part) {
        errno = *path != '/' ? EINVAL : ENAMETOOLONG;
        return -1;
    }
    for (char *at = part + 1;; at++) {
        char here = *at;
        if (here != '/' && here != '\0')
            continue;
        *at = '\0';
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return -1;
        if (here == '\0')
            return 0;
        *at = here;
    }
}

int account_home(const char *home, uid_t uid, gid_t gid, struct fault *f) {
    struct stat st, root;
    if (stat(home, &st) != 0 && (account_directories(home) != 0 || stat(home, &st) != 0))
        return fault_set(f, errno, "make the home directory %s", home);
    if (st.st_uid == uid)
        return 0;
    if (stat("/", &root) != 0 || st.st_dev != root.st_dev)
        return 0;
    if (chown(home, uid, gid) != 0)
        return fault_set(f, errno, "give the home directory %s to uid %u", home, uid);
    return 0;
}
