/* Messages to Python; netstack.h says what each means. */
#pragma once

#include "native/addr.h"
#include "native/sockdiag.h"

#include <stddef.h>
#include <stdint.h>

struct netstack;

void event_listening(struct netstack *ns, const struct sockdiag_port *ports, size_t count);
void event_self(struct netstack *ns, uint16_t port);
void event_refused(struct netstack *ns, int err, const struct endpoint *to);
void event_link_gone(struct netstack *ns, int link, const char *reason);
void event_link_cut(struct netstack *ns, int link, const char *reason);
void event_failed(struct netstack *ns, const char *what);
void event_files_refused(struct netstack *ns, const char *why);
