/* A thread beside the loop's: with every signal blocked, so that those sent to the process stay the main thread's. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* `detached`: nobody joins it, and `thread` is not to be used. 0, or an errno. */
int thread_start(pthread_t *thread, size_t stack, bool detached, void *(*run)(void *), void *arg);
