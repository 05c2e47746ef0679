/* Which endpoints inside a target are the agent's own sockets, so that its own traffic is never mirrored back.
 *
 * An endpoint stays known for a while after its socket has closed: the packets of a short connection may wait in the
 * capture ring longer than the connection lived. Bounded: as many as there are sockets, plus those of OWN_LINGER. */
#pragma once

#include "native/addr.h"

#include <stdbool.h>
#include <stdint.h>

#define OWN_LINGER (3ull * 1000 * 1000 * 1000) /* ns */

struct own_table;
struct own;

struct own_table *own_table_new(void); /* NULL: no memory */
void own_table_free(struct own_table *t);

/* The table's until own_remove. A wildcard address stands for every address of its family. NULL: no memory. */
struct own *own_add(struct own_table *t, const struct endpoint *e);
void own_remove(struct own_table *t, struct own *o,
                uint64_t now); /* NULL is allowed; `now` in ns */
bool own_has(const struct own_table *t, const struct endpoint *e);
