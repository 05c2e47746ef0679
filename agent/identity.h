/* Who a target is on its network: its host name, its addresses, and files of its root, asked of the kernel.
 *
 * For any thread; each call enters and leaves by itself (netns.h). */
#pragma once

#include "native/fault.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* cffi: begin */
struct identity_address {
    uint8_t family; /* 4 or 6 */
    uint8_t prefix; /* bits */
    uint8_t ip[16]; /* network order; IPv4 in the first four */
};

/* The name of the UTS namespace `uts` (an fd), terminated. 0, or -1. */
int identity_hostname(int uts, char *name, size_t capacity, struct fault *f);

/* The addresses of global scope in the network namespace `netns` (an fd), in the kernel's order: the first is the source
 * it prefers. Neither loopback's nor IPv6 link-local ones. Their number, at most `capacity`, or -1. */
int identity_addresses(int netns, struct identity_address *out, size_t capacity, struct fault *f);

/* A regular file below `root` (an fd of /proc/PID/root): every link is resolved inside (openat2(2), RESOLVE_IN_ROOT), and
 * none of /proc's. Octets read, at most `capacity` (a longer file is an error: EFBIG), or -1. */
ssize_t identity_file(int root, const char *path, void *out, size_t capacity, struct fault *f);

/* Octets of a process's memory, from `address` on: by CAP_SYS_PTRACE alone, where /proc/PID/environ and /proc/PID/mem also
 * ask for its owner's right to open them (process_vm_readv(2)). Octets read, or -1. */
ssize_t identity_memory(int pid, uint64_t address, void *out, size_t n, struct fault *f);
/* cffi: end */
