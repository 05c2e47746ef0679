/* One ask at the files' door (layer/files/door_words.h): a connection, a packet each way, perhaps a descriptor.
 *
 * Everything is on the caller's stack and by raw system calls: nothing of ours is called back, nothing is locked, and a signal
 * handler, a child of vfork(2) and a process whose constructors have not run may ask too. */
#pragma once

#include "layer/files/door_words.h"

#include <stddef.h>
#include <sys/types.h>

struct ask {
    struct door_ask head; /* version and lengths are filled in */
    const char *path, *second;
    const void *value;
    const int *give; /* NULL, or a descriptor that goes with it */
    void *body;      /* where the answer's body goes, `room` octets at most */
    size_t room;
    size_t got; /* octets of the body */
    int fd;     /* of OPEN's answer, close-on-exec; else -1 */
};

/* The answer's result, or -1 with errno. */
int ask_door(struct ask *a);
