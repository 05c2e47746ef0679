/* inotify(7): a watch on a path of the target's is on what the door gives in its place (layer/files/watches.h). The descriptor stays
 * the program's own, with its other watches, and what is read from it is the kernel's. */
#include "hook.h"

#include <sys/inotify.h>

#include "libc.h"

static int watch_at_door(int fd, const struct place *p, uint32_t mask) {
    struct ask a = {.path = p->path};
    a.head.op = DOOR_WATCH;
    a.head.flags = mask & IN_DONT_FOLLOW ? DOOR_NOFOLLOW : 0;
    if (ask_door(&a) < 0)
        return -1;
    struct fd_name name = fd_name(a.fd);
    long watch = raw(SYS_inotify_add_watch, fd, name.text, mask & ~(uint32_t)IN_DONT_FOLLOW);
    int why = errno;
    raw(SYS_close, a.fd);
    errno = why;
    return (int)watch;
}

EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask) {
    struct place p;
    switch (place_find_of_two(&p, AT_FDCWD, path, mask & IN_DONT_FOLLOW ? SEES : LOOKS)) {
    case ROUTE_OWN:
        return (int)raw(SYS_inotify_add_watch, fd, path, mask);
    case ROUTE_HERE:
        return (int)raw(SYS_inotify_add_watch, fd, p.path, mask);
    case ROUTE_TARGET:
        return watch_at_door(fd, &p, mask);
    case ROUTE_FAILED:
        break;
    }
    return -1;
}
