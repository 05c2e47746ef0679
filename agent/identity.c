#include "agent/identity.h"

#include "agent/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/openat2.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct name {
    char *text;
    size_t capacity;
};

static int ask_name(void *arg, struct fault *f) {
    struct name *n = arg;
    if (gethostname(n->text, n->capacity) < 0)
        return fault_set(f, errno, "ask the target's host name");
    n->text[n->capacity - 1] = 0;
    return 0;
}

int identity_hostname(int uts, char *name, size_t capacity, struct fault *f) {
    int home = netns_home("uts", f);
    if (home < 0)
        return -1;
    struct name n = {name, capacity};
    int r = netns_within(home, uts, ask_name, &n, f);
    close(home);
    return r;
}

static int ask_addresses(void *arg, struct fault *f) {
    return getifaddrs(arg) < 0 ? fault_set(f, errno, "list the target's addresses") : 0;
}

static uint8_t prefix_of(const uint8_t *mask, size_t n) {
    uint8_t bits = 0;
    for (size_t i = 0; i < n; i++)
        bits = (uint8_t)(bits + __builtin_popcount(mask[i]));
    return bits;
}

static bool address_of(const struct ifaddrs *i, struct identity_address *a) {
    if (!i->ifa_addr || !i->ifa_netmask || (i->ifa_flags & IFF_LOOPBACK))
        return false;
    memset(a, 0, sizeof *a);
    if (i->ifa_addr->sa_family == AF_INET) {
        const struct sockaddr_in *sin = (const void *)i->ifa_addr,
                                 *mask = (const void *)i->ifa_netmask;
        a->family = 4;
        memcpy(a->ip, &sin->sin_addr, 4);
        a->prefix = prefix_of((const uint8_t *)&mask->sin_addr, 4);
        return true;
    }
    if (i->ifa_addr->sa_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const void *)i->ifa_addr,
                                  *mask = (const void *)i->ifa_netmask;
        if (IN6_IS_ADDR_LINKLOCAL(&sin6->sin6_addr))
            return false;
        a->family = 6;
        memcpy(a->ip, &sin6->sin6_addr, 16);
        a->prefix = prefix_of((const uint8_t *)&mask->sin6_addr, 16);
        return true;
    }
    return false;
}

int identity_addresses(int netns, struct identity_address *out, size_t capacity, struct fault *f) {
    struct ifaddrs *all = NULL;
    int home = netns_home("net", f);
    if (home < 0)
        return -1;
    int r = netns_within(home, netns, ask_addresses, &all, f);
    close(home);
    if (r < 0)
        return -1;
    int n = 0;
    for (const struct ifaddrs *i = all; i && (size_t)n < capacity; i = i->ifa_next)
        if (address_of(i, &out[n]))
            n++;
    freeifaddrs(all);
    return n;
}

static ssize_t read_all(int fd, void *out, size_t capacity) {
    size_t have = 0;
    for (;;) {
        uint8_t beyond;
        bool full = have == capacity;
        ssize_t n = read(fd, full ? &beyond : (uint8_t *)out + have, full ? 1 : capacity - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)have;
        if (full) {
            errno = EFBIG;
            return -1;
        }
        have += (size_t)n;
    }
}

ssize_t identity_file(int root, const char *path, void *out, size_t capacity, struct fault *f) {
    struct open_how how = {
        .flags =
            O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, /* a fifo or a device must not hold us */
        .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);
    if (fd < 0)
        return fault_set(f, errno, "open the target's %s", path);
    struct stat st;
    ssize_t n = -1;
    if (fstat(fd, &st) < 0)
        fault_set(f, errno, "look at the target's %s", path);
    else if (!S_ISREG(st.st_mode))
        fault_set(f, EINVAL, "the target's %s is no regular file", path);
    else if ((n = read_all(fd, out, capacity)) < 0)
        fault_set(f, errno, "read the target's %s", path);
    close(fd);
    return n;
}

ssize_t identity_memory(int pid, uint64_t address, void *out, size_t n, struct fault *f) {
    struct iovec here = {out, n}, there = {(void *)(uintptr_t)address, n};
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return got < 0 ? fault_set(f, errno, "read the memory of process %d", pid) : got;
}
