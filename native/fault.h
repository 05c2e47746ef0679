/* A failure is a value that carries a sentence; an impossible state ends the process with one. */
#pragma once

#include <stddef.h>

struct fault {
    int err;        /* errno, or 0 if the kernel had no part in it */
    char text[192]; /* what failed, doing what; never empty after fault_set */
};

/* Fills `f` (which may be NULL) and returns -1, so that `return fault_set(f, errno, "open %s", path);` reads well. The
 * kernel's words for `err`, if it is not 0, are added to the text: "open /dev/net/tun: No such file or directory". */
int fault_set(struct fault *f, int err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Like assert(), but NDEBUG leaves it alone: prints the place and the condition, then abort(). */
#define CHECK(cond) ((cond) ? (void)0 : fault_impossible(__FILE__, __LINE__, #cond))
void fault_impossible(const char *file, int line, const char *cond) __attribute__((noreturn));

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
