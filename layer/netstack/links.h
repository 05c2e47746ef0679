/* The bridge's data links, by the thread that carries them: packets' on the engine's own loop, files' on another.
 *
 * A file's octets would keep packets waiting in three ways: ahead of them in a socket, in a turn of the loop, and in the eyes of the
 * scheduler, which lets a thread that has used its share wait. So an agent is asked for a second link, for files alone, and that
 * has a loop whose thread gives way. Which of the two loops the file system is on is decided with the primary: an agent may have
 * no such link (an older one, or a session that is held to a rate), and then files come by the first as well. */
#pragma once

#include "native/loop.h"
#include "native/mux.h"

#include <stdbool.h>
#include <stdint.h>

struct netstack;

struct link {
    struct links *set;
    struct mux *mux; /* NULL: it has ended, netstack_link_del is still due */
    int id;
    bool keeps;
    uint32_t target; /* of new connections, or whose files */
    struct link *next;
};

/* Touched by its loop's thread alone. */
struct links {
    struct netstack *ns;
    struct loop *loop;
    struct link *all, *primary;
    bool files; /* the file system is on this loop, and speaks by the primary */
};

/* On the set's loop: the file system is attached to it. */
void links_have_files(struct links *s);
/* On the set's loop, or when it runs no more: all end, and the file system leaves, if it is here. */
void links_clear(struct links *s);
/* The thread of the files' links is joined, and these end. */
void links_stop_filing(struct netstack *ns);
