/* mirror-gate COMMENT: the process that stands in one target's network and takes the connections to stolen ports.
 *
 * Started by the agent with fd 2 for the log, 3 control, 4 hand-over to its engine, 5 the target's network namespace. A
 * process of its own because of the order of a sudden end: of the fds that a dying process has the lowest is closed last, so
 * the table's owner is fd 0 and connections are reset while the table still translates them. It never forks. */
#include "agent/gate/gate.h"

#include "agent/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONTROL_FD = 3, HANDOVER_FD = 4, NETNS_FD = 5 };

/* Nanoseconds. Measured with one connection that asks as soon as it is answered (two CPUs, virtual): 10 us were too short for the
 * target's answer to come, 20 took 33 us off a round trip of 85, and 10 off the CPU's 64, which are mostly falling asleep and being
 * woken; 50 took no more off, and cost 50 us of CPU for a request at 1,000 requests/s, where 20 cost none. */
#define LOOK 20000

/* As many connections as there may be. */
static void allow_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Nothing of whoever started us is kept alive here, nor anything of ours by a child. */
static void keep_only_given(void) {
    close_range(NETNS_FD + 1, ~0u, 0);
    fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC);
    fcntl(HANDOVER_FD, F_SETFD, FD_CLOEXEC);
}

/* What reads strangers' octets keeps what it needs. */
static int keep_only_net_admin(struct fault *f) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    /*privileged CAP_NET_ADMIN: the target's nftables and connection tracking, and SO_MARK. */
    uint32_t kept = 1u << CAP_NET_ADMIN;
    struct __user_cap_data_struct data[2] = {{.effective = kept, .permitted = kept}};
    if (syscall(SYS_capset, &head, data) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fault_set(f, errno, "give up all capabilities but CAP_NET_ADMIN");
    return 0;
}

/* Into the target's network, and nothing else of it; with the table's socket as fd 0. */
static struct table *enter(struct fault *f) {
    if (netns_stay(NETNS_FD, f) != 0)
        return NULL;
    close(NETNS_FD);
    close(TABLE_FD); /* the next socket has its number */
    return keep_only_net_admin(f) == 0 ? table_new(f) : NULL;
}

/* Both ends of its own, so that each says it as if the agent had closed the other. */
static void agent_gone(int number) {
    (void)number;
    shutdown(CONTROL_FD, SHUT_RDWR);
    shutdown(HANDOVER_FD, SHUT_RDWR);
}

/* The agent's end is heard at its descriptors' end; but one thread that the kernel does not let go of (it asks a disk of a target's
 * that hangs) keeps all of a process's descriptors open, killed or not. What is killed then is its thread that started us. */
static void hear_of_the_agents_end(void) {
    struct sigaction act = {.sa_handler = agent_gone, .sa_flags = SA_RESTART};
    sigaction(SIGHUP, &act, NULL);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
}

static int serve(struct gate *g, struct table *table, const char *comment, struct fault *f) {
    struct loop *loop = loop_new(f);
    if (!loop)
        return -1;
    hear_of_the_agents_end();
    loop_be_patient(loop, LOOK);
    int result = gate_open(g, loop, table, comment, CONTROL_FD, HANDOVER_FD, f);
    if (result != 0)
        control_failed(CONTROL_FD, f);
    else
        result = loop_run(loop, f);
    gate_close(g);
    loop_free(loop);
    return result;
}

int main(int count, char **words) {
    struct fault f = {0};
    if (count != 2) {
        fprintf(stderr,
                "usage: mirror-gate COMMENT, with fds 3, 4 and 5 as agent/gate/main.c says\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    keep_only_given();
    allow_descriptors();
    struct table *table = enter(&f);
    struct gate *g = calloc(1, sizeof *g);
    CHECK(g);
    int result = -1;
    if (table)
        result = serve(g, table, words[1], &f);
    else
        control_failed(CONTROL_FD, &f);
    free(g);
    table_free(table);
    if (result != 0)
        fprintf(stderr, "mirror-gate: %s\n", f.text);
    return result != 0;
}
