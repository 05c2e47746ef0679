/* lwIP's malloc: large blocks are kept for the next large one.
 *
 * A segment for the app is a block of up to 64 KiB that lives for microseconds. glibc gives such memory back to the kernel
 * when it is freed and takes zeroed pages for the next one, which cost as much as the copy itself (seen in profiles). */
#pragma once

#include <stddef.h>

void *memory_alloc(size_t size);
void *memory_zeroed(size_t count, size_t size);
void memory_free(void *p);
void memory_forget(void); /* what is kept */
