/* A thread beside the loop's: with every signal blocked, so that those sent to the process stay the main thread's. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* `detached`: nobody joins it, and `thread` is not to be used. 0, or an errno. */
int thread_start(pthread_t *thread, size_t stack, bool detached, void *(*run)(void *), void *arg);

/* The calling thread's turns on a processor are short, and so come sooner: it wakes for packets, and need not wait until a thread that
 * copies a file has had its own turn of milliseconds. It gets no more of the processor than before. sched_setattr(2), Linux
 * 6.12; earlier ones have one length for all. Not for threads that it starts. */
void thread_short_turns(void);

/* The calling thread carries much that nobody waits for by the microsecond: whoever else wakes has the processor at once, and a
 * greater share of it while both want it; alone it loses nothing. Who wakes with a shorter turn takes it away (Linux 6.12; earlier
 * ones go by nice(2) alone). */
void thread_gives_way(void);
