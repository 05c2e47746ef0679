/* A path asked for ahead, by the door: one round trip for all that the kernel will want to know of it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct filesystem;

/* Returns when what the agent knows of the path is here, or is not to be had: the kernel then asks by itself. The number is for
 * walk_over, which gives back what the kernel did not ask for. `open`: with OPEN and the first octets; `flags` are open(2)'s. */
uint64_t walk_ahead(struct filesystem *fs, const char *path, bool open, int flags, bool no_follow);
/* Whether the content of a small file that nobody has opened yet came with this walk: walk_store gives it to the kernel, whose pages
 * it is from then on, so that reading it is no question. Called before the file is opened. */
bool walk_content(struct filesystem *fs, uint64_t walk);
/* Once the file is open, and the kernel knows its node. May wait for others' reads of it to be answered. */
void walk_store(struct filesystem *fs, uint64_t walk);
/* Before a path is resolved: the kernel lets go of what an agent told that is gone. */
void walk_refresh(struct filesystem *fs);
/* That Unix socket, connected by the agent: 0 and its handle, or -errno. */
int walk_connect(struct filesystem *fs, const char *path, int type, uint64_t *handle);
void walk_over(struct filesystem *fs, uint64_t walk);
