/* Extended attributes of what a path names. */
#include "by_rules.h"
#include "route.h"

#include <string.h>
#include <sys/xattr.h>

#include "libc.h"

static uint32_t door_flags(enum follow follow) {
    return follow == UNFOLLOWED ? DOOR_NOFOLLOW : 0;
}

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

/* Of each call there are two, which differ in this alone; PICK is the number of the one that is meant. */
#define PICK(follow, name) ((follow) == FOLLOWED ? SYS_##name : SYS_l##name)

ssize_t getxattr_by_rules(const char *path, const char *name, void *value, size_t size,
                          enum follow follow) {
    struct place p;
    long number = PICK(follow, getxattr);
    ROUTED(p, AT_FDCWD, path, LOOKS, raw(number, path, name, value, size),
           raw(number, p.path, name, value, size),
           read_at_door(&p, DOOR_GETXATTR, name, value, size, door_flags(follow)));
}

ssize_t listxattr_by_rules(const char *path, char *list, size_t size, enum follow follow) {
    struct place p;
    long number = PICK(follow, listxattr);
    ROUTED(p, AT_FDCWD, path, LOOKS, raw(number, path, list, size), raw(number, p.path, list, size),
           read_at_door(&p, DOOR_LISTXATTR, NULL, list, size, door_flags(follow)));
}

int setxattr_by_rules(const char *path, const char *name, const void *value, size_t size, int flags,
                      enum follow follow) {
    struct place p;
    long number = PICK(follow, setxattr);
    uint32_t said = door_flags(follow) | (uint32_t)flags;
    ROUTED(p, AT_FDCWD, path, CHANGES, (int)raw(number, path, name, value, size, flags),
           (int)raw(number, p.path, name, value, size, flags),
           change_at_door(&p, DOOR_SETXATTR, name, value, size, said));
}

int removexattr_by_rules(const char *path, const char *name, enum follow follow) {
    struct place p;
    long number = PICK(follow, removexattr);
    ROUTED(p, AT_FDCWD, path, CHANGES, (int)raw(number, path, name), (int)raw(number, p.path, name),
           change_at_door(&p, DOOR_REMOVEXATTR, name, NULL, 0, door_flags(follow)));
}
