/* The nftables table of one target, held by a netlink socket that is this process's fd 0: it dies with us, however we die.
 *
 * One for a process, since there is one fd 0. */
#pragma once

#include "agent/gate/rules.h"
#include "native/fault.h"

#define TABLE_FD 0

struct table;

/* The socket and nothing in it yet; in the target's network namespace, with fd 0 closed. NULL and `f`: ENOTSUP with the
 * kernel's version if that is too old. */
struct table *table_new(struct fault *f);
void table_free(struct table *t); /* NULL is allowed; the kernel takes the table away */

/* The table, with nothing stolen. 0, or -1: EEXIST with the other agent's comment if the table is somebody's. */
int table_make(struct table *t, const char *comment, struct fault *f);

/* See rules_meshes. 0, or -1 and nothing has changed. */
int table_meshes(struct table *t, const uint32_t *uid, size_t count, struct fault *f);
/* All of `p`, `count` ports, and nothing else is stolen from now on; in one transaction. 0, or -1 and nothing has changed. */
int table_swap(struct table *t, const struct rules_port *p, size_t count, struct fault *f);
