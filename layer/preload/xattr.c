/* Extended attributes of what a path names. */
#include "hook.h"

#include <string.h>
#include <sys/xattr.h>

#include "libc.h"

#define FOLLOWED   0
#define UNFOLLOWED DOOR_NOFOLLOW

static ssize_t read_at_door(const struct place *p, enum door_op op, const char *name, void *value,
                            size_t size, uint32_t flags) {
    struct ask a = {.path = p->path, .second = name, .body = value, .room = size};
    a.head.op = (uint16_t)op;
    a.head.flags = flags;
    a.head.size = size > DOOR_VALUE ? DOOR_VALUE : (uint32_t)size;
    return ask_door(&a);
}

static int change_at_door(const struct place *p, enum door_op op, const char *name,
                          const void *value, size_t size, uint32_t flags) {
    if (size > DOOR_VALUE) {
        errno = E2BIG;
        return -1;
    }
    struct ask a = {.path = p->path, .second = name, .value = value};
    a.head.op = (uint16_t)op;
    a.head.flags = flags;
    a.head.value_len = (uint32_t)size;
    return ask_door(&a);
}

#define GET(name, number, follow)                                                                  \
    EXPORT ssize_t name(const char *path, const char *attribute, void *value, size_t size) {       \
        struct place p;                                                                            \
        ROUTED(p, AT_FDCWD, path, LOOKS, raw(number, path, attribute, value, size),                \
               raw(number, p.path, attribute, value, size),                                        \
               read_at_door(&p, DOOR_GETXATTR, attribute, value, size, follow));                   \
    }
GET(getxattr, SYS_getxattr, FOLLOWED)
GET(lgetxattr, SYS_lgetxattr, UNFOLLOWED)

#define LIST(name, number, follow)                                                                 \
    EXPORT ssize_t name(const char *path, char *list, size_t size) {                               \
        struct place p;                                                                            \
        ROUTED(p, AT_FDCWD, path, LOOKS, raw(number, path, list, size),                            \
               raw(number, p.path, list, size),                                                    \
               read_at_door(&p, DOOR_LISTXATTR, NULL, list, size, follow));                        \
    }
LIST(listxattr, SYS_listxattr, FOLLOWED)
LIST(llistxattr, SYS_llistxattr, UNFOLLOWED)

#define SET(name, number, follow)                                                                  \
    EXPORT int name(const char *path, const char *attribute, const void *value, size_t size,       \
                    int flags) {                                                                   \
        struct place p;                                                                            \
        ROUTED(                                                                                    \
            p, AT_FDCWD, path, CHANGES, (int)raw(number, path, attribute, value, size, flags),     \
            (int)raw(number, p.path, attribute, value, size, flags),                               \
            change_at_door(&p, DOOR_SETXATTR, attribute, value, size, follow | (uint32_t)flags));  \
    }
SET(setxattr, SYS_setxattr, FOLLOWED)
SET(lsetxattr, SYS_lsetxattr, UNFOLLOWED)

#define REMOVE(name, number, follow)                                                               \
    EXPORT int name(const char *path, const char *attribute) {                                     \
        struct place p;                                                                            \
        ROUTED(p, AT_FDCWD, path, CHANGES, (int)raw(number, path, attribute),                      \
               (int)raw(number, p.path, attribute),                                                \
               change_at_door(&p, DOOR_REMOVEXATTR, attribute, NULL, 0, follow));                  \
    }
REMOVE(removexattr, SYS_removexattr, FOLLOWED)
REMOVE(lremovexattr, SYS_lremovexattr, UNFOLLOWED)
