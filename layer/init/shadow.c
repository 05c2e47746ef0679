#include "shadow.h"

#include "account.h"
#include "caller.h"

#include "layer/preload/ask.h"
#include "layer/preload/by_rules.h"
#include "layer/preload/place.h"
#include "layer/preload/raw.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "layer/preload/libc.h"

/* The name that the kernel gives to the target's directory; false: errno, which is what chdir(2) says there. */
static bool real_name(const struct place *p, char *name, size_t size) {
    struct ask open = {.path = p->path,
                       .head = {.op = DOOR_OPEN, .flags = O_PATH | O_DIRECTORY | O_CLOEXEC}};
    struct ask enter = {.path = p->path, .head = {.op = DOOR_ACCESS, .mode = X_OK}};
    if (ask_door(&open) < 0)
        return false;
    struct fd_name link = fd_name(open.fd);
    long n = raw(SYS_readlinkat, AT_FDCWD, link.text, name, size - 1);
    n = n > 0 ? link_plain(name, n) : n;
    int why = errno;
    raw(SYS_close, open.fd);
    errno = why;
    if (n <= 0)
        return false;
    name[n] = '\0';
    return ask_door(&enter) == 0;
}

bool shadow_own_name(const char *path, struct place *own) {
    bool of_target = false;
    own->len = 0;
    if (*path != '/') {
        long n = place_cwd(own->path, sizeof own->path, &of_target);
        if (n <= 0)
            return false;
        own->len = (size_t)n - 1;
    }
    size_t n = strlen(path);
    if (own->len + 1 + n >= sizeof own->path) {
        errno = ENAMETOOLONG;
        return false;
    }
    own->path[own->len] = '/';
    memcpy(own->path + own->len + 1, path, n + 1);
    place_plain(own);
    return true;
}

/* What cannot be made is the caller's to find missing. */
static void make(const char *name, char *own) {
    account_directories(name);
    if (strcmp(own, name) == 0)
        return;
    char *last = strrchr(own, '/');
    *last = '\0';
    if (last != own)
        account_directories(own);
    *last = '/';
    (void)!symlink(name, own);
}

int shadow_chdir(const char *path) {
    struct place p, own;
    char name[PATH_MAX];
    enum route route = place_find(&p, AT_FDCWD, path, LOOKS);
    if (route == ROUTE_FAILED)
        return -1;
    if (route != ROUTE_OWN) {
        if (!shadow_own_name(path, &own))
            return -1;
        if (route == ROUTE_TARGET && !real_name(&p, name, sizeof name))
            return -1;
        caller_as_root();
        make(route == ROUTE_TARGET ? name : own.path, own.path);
        caller_as_caller();
    }
    place_left();
    return -1;
}
