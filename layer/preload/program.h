/* Whether a program that is to be executed will have the layer: by its file's first octets, and by nothing else.
 *
 * The layer is brought by the loader that an ELF file names, so a static program has none; and a Go program calls the kernel
 * without libc, also where it has a loader (cgo). Go's linker says in a note who it was. */
#pragma once

#include <stddef.h>

enum program {
    PROGRAM_LAYERED, /* its loader brings the layer, and it calls libc */
    PROGRAM_BARE,    /* it calls the kernel by itself */
    PROGRAM_FOREIGN, /* bare, and of another machine, or one that becomes another user: nothing can be done */
    PROGRAM_SCRIPT,  /* another program is executed in its place */
    PROGRAM_UNKNOWN, /* no program, or none that we may read */
};

enum { PROGRAM_HEAD = 4096, PROGRAM_SHEBANG = 256 };

/* Of the file's first octets, all of them or PROGRAM_HEAD. Of a script, `interpreter` (PROGRAM_SHEBANG octets) gets who is
 * executed in its place. */
enum program program_of(const void *octets, size_t len, char *interpreter);

/* Of a path as execve(2) would find it from `dirfd` ("": of what `dirfd` is), through scripts to the program in the end; never
 * PROGRAM_SCRIPT. */
enum program program_at(int dirfd, const char *path);
