/* The thread that waits in a system call which has been asked about: its memory, its directory, its descriptors, its identity.
 *
 * Who serves it is a thread of mirror-init that takes its user and group: so the kernel lets it read that memory
 * (ptrace(2), "access mode checking"), finds it right or wrong when it makes files for the caller, and tells the files' door
 * who asks (SO_PEERCRED). Credentials are each thread's own, if libc is not asked. That mirror-init is the ancestor of all is
 * what Yama wants where it is in force.
 *
 * What is read may change the moment after: another thread of the app's writes where it likes. Nothing here is a border, the
 * rules keep nobody from what he could have otherwise. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct caller {
    int proc;   /* /proc/TID, O_PATH: it is of this thread even when the number is another's */
    int memory; /* -1: nothing was read yet */
    bool left;  /* what it asked for is its own kernel's to do */
    void (*waits)(void *arg); /* it is going to be asked at the door */
    void *arg;
};

/* Opens the thread's /proc and becomes its user for as long as it is served by this thread; place.h then is about it. False: it
 * has gone, or may not be looked at (a program that is not dumpable). */
bool caller_enter(struct caller *c, pid_t thread);
void caller_leave(struct caller *c);

/* `n` octets at `address` of its memory; false, EFAULT. */
bool caller_read(struct caller *c, uint64_t address, void *out, size_t n);
bool caller_write(struct caller *c, uint64_t address, const void *octets, size_t n);

/* A string with its NUL: its length without, or -1 when it cannot be read or does not end within `size`. */
ssize_t caller_text(struct caller *c, uint64_t address, char *out, size_t size);

/* Its process, and the flags of one of its descriptors: open(2)'s, O_CLOEXEC too. 0: it has gone. */
pid_t caller_process(void);
int caller_flags(int fd);

/* mirror-init's own identity, for what nobody but root may do, and back again. */
void caller_as_root(void);
void caller_as_caller(void);
