/* The bridge's stack on a tun0 that was made by who started us (its fd is the one argument), with alone_mux.c behind it.
 * Until SIGTERM. */
#include "layer/netstack/netstack.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void stop(int number) {
    (void)number;
    _exit(0);
}

int main(int argc, char **argv) {
    struct fault f = {0};
    int ends[2];
    if (argc != 2 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
        return 2;
    signal(SIGTERM, stop);
    struct netstack *stack = netstack_new(atoi(argv[1]), &f);
    if (!stack || netstack_link_add(stack, ends[0], true, false, &f) < 0 || printf("ready\n") < 0 ||
        fflush(stdout) || netstack_run(stack, &f) < 0) {
        fprintf(stderr, "alone: %s\n", f.text);
        return 1;
    }
    return 0;
}
