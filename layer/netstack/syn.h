/* How a connection begins and ends: one table for both ways.
 *
 * Out: the app's SYN is held until the agent's connect(2) inside the target has returned; then it is handed to lwIP, or
 * answered as the kernel of the target would have answered (kernel fact: connect() errors cross as they are). In: an agent's
 * OPEN makes lwIP connect to the app as the real client; the app's accept or refusal is the answer (for a mirrored one its
 * kernel's). */
#pragma once

#include "native/view.h"

struct flow;
struct netstack;

enum flow_input {
    IN_SYN,      /* the app's SYN, first or again */
    IN_OPEN,     /* an agent opens a mirrored connection */
    IN_OPENED,   /* the agent is connected */
    IN_RESET,    /* the channel has been reset: flow->fate says why */
    IN_QUIET,    /* the app has not repeated its SYN */
    IN_RST,      /* the app takes its SYN back */
    IN_SHAKEN,   /* lwIP and the app's kernel are connected */
    IN_ACCEPTED, /* so is the app itself */
    IN_VANISHED, /* the app's kernel knows it no more: flow->why */
    IN_GONE,     /* lwIP has lost the connection: flow->why */
    IN_ENDED,    /* lwIP has closed it in order, or TIME_WAIT is over */
    FLOW_INPUTS,
};

void syn_input(struct flow *f, enum flow_input in);

/* A SYN from the app that belongs to no flow. */
void syn_new(struct netstack *ns, const struct ip_view *ip, const struct tcp_view *tcp);

bool syn_init(struct netstack *ns); /* the one listening pcb; false: no memory */
void syn_stop(struct netstack *ns);
