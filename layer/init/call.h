/* A system call as a row of a table: what each of its arguments is, and what its result. Made of notified.def. */
#pragma once

#include <stdint.h>

enum argument {
    NUMBER,
    PATH, /* a string */
    OUT, /* memory that is written, as many octets as the result says; the next argument is its size */
    IN,      /* memory that is read; the next argument is its size */
    STAT,    /* struct stat, written */
    STATX,   /* struct statx, written */
    STATFS,  /* struct statfs, written */
    TIMES,   /* two struct timespec or timeval, read */
    SECONDS, /* struct utimbuf, read */
};

enum result {
    RESULT_PLAIN,
    RESULT_DESCRIPTOR,     /* close-on-exec if the argument `at` has O_CLOEXEC */
    RESULT_DESCRIPTOR_HOW, /* the same, of the first word of what is IN there */
    RESULT_REPLACED, /* a descriptor that takes the place of the first argument; the call's is 0 */
};

struct call {
    int number;
    enum result result;
    int at; /* of the flags; -1: there are none */
    enum argument arguments[6];
};

/* The row of a number, or NULL. */
const struct call *call_of(int number);
