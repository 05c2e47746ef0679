#include "agent/files/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*privileged CAP_CHOWN: a target whose process has it changes owners. */
/*privileged CAP_DAC_OVERRIDE: a target whose process has it (root, as a rule) opens what modes forbid. */
/*privileged CAP_DAC_READ_SEARCH: the same, for reading. */
/*privileged CAP_FOWNER: a target whose process has it changes modes and times of others' files. */
/*privileged CAP_FSETID: a target whose process has it keeps set-id bits. */
#define OF_FILES                                                                                   \
    (1ull << CAP_CHOWN | 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH |                  \
     1ull << CAP_FOWNER | 1ull << CAP_FSETID)

/* --- reading ------------------------------------------------------------------------------------------------------------ */

/* The n-th (from 1) number of a line "Name:\t1\t2\t3". */
static bool number(const char *text, const char *name, int nth, int base, uint64_t *out) {
    const char *at = strstr(text, name);
    if (!at)
        return false;
    at += strlen(name);
    for (int i = 0; i < nth; i++) {
        char *end;
        errno = 0;
        *out = strtoull(at, &end, base);
        if (end == at || errno)
            return false;
        at = end;
    }
    return true;
}

static bool groups(const char *text, struct credentials *c) {
    const char *at = strstr(text, "\nGroups:");
    if (!at)
        return false;
    at += strlen("\nGroups:");
    for (c->group_count = 0;;) {
        at += strspn(at, " \t");
        if (*at == '\n' || *at == '\0')
            return true;
        char *end;
        unsigned long group = strtoul(at, &end, 10);
        if (end == at || c->group_count == CREDENTIALS_GROUPS)
            return false;
        c->groups[c->group_count++] = (gid_t)group;
        at = end;
    }
}

/* In a user namespace of its own, capabilities are about that namespace's files: here they mean nothing. */
static bool same_namespace(pid_t pid) {
    char path[64];
    struct stat ours, its;
    snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
    return stat("/proc/self/ns/user", &ours) == 0 && stat(path, &its) == 0 &&
           ours.st_ino == its.st_ino && ours.st_dev == its.st_dev;
}

static ssize_t read_status(pid_t pid, char *text, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, room - 1);
    int err = errno;
    close(fd);
    errno = err;
    text[n > 0 ? n : 0] = '\0';
    return n;
}

int credentials_read(pid_t pid, struct credentials *c, struct fault *f) {
    char text[16384];
    uint64_t uid, gid, caps;
    if (read_status(pid, text, sizeof text) <= 0)
        return fault_set(f, errno, "read who process %d is", (int)pid);
    /* proc(5): real, effective, saved set, file system. */
    if (!number(text, "\nUid:", 4, 10, &uid) || !number(text, "\nGid:", 4, 10, &gid) ||
        !number(text, "\nCapEff:", 1, 16, &caps) || !groups(text, c))
        return fault_set(f, EPROTO, "read who process %d is", (int)pid);
    c->uid = (uid_t)uid;
    c->gid = (gid_t)gid;
    c->capabilities = same_namespace(pid) ? caps & OF_FILES : 0;
    return 0;
}

/* --- becoming ----------------------------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b) {
    gid_t x = *(const gid_t *)a, y = *(const gid_t *)b;
    return x < y ? -1 : x > y;
}

/* The kernel keeps them sorted (kernel/groups.c). */
static int take_groups(const struct credentials *c, struct fault *f) {
    gid_t sorted[CREDENTIALS_GROUPS], now[CREDENTIALS_GROUPS];
    memcpy(sorted, c->groups, c->group_count * sizeof *sorted);
    qsort(sorted, c->group_count, sizeof *sorted, by_number);
    /*privileged CAP_SETGID: a file thread has the target process's groups. */
    if (syscall(SYS_setgroups, (size_t)c->group_count, sorted) < 0)
        return fault_set(f, errno, "take the target's groups");
    long n = syscall(SYS_getgroups, CREDENTIALS_GROUPS, now);
    if (n != (long)c->group_count || memcmp(now, sorted, (size_t)n * sizeof *now) != 0)
        return fault_set(f, EPERM, "the target's groups did not take");
    return 0;
}

static int take_user(const struct credentials *c, struct fault *f) {
    /*privileged CAP_SETUID: a file thread has the target process's user: for the file system, and for who looks at the other
     * end of a Unix socket (unix(7), SO_PEERCRED), which is the effective one. */
    if (syscall(SYS_setresgid, -1, c->gid, -1) < 0 || syscall(SYS_setresuid, -1, c->uid, -1) < 0)
        return fault_set(f, errno, "become user %u of group %u", c->uid, c->gid);
    syscall(SYS_setfsgid, c->gid);
    syscall(SYS_setfsuid, c->uid);
    if ((gid_t)syscall(SYS_setfsgid, -1) != c->gid || (uid_t)syscall(SYS_setfsuid, -1) != c->uid)
        return fault_set(f, EPERM, "become user %u of group %u for the file system", c->uid,
                         c->gid);
    return 0;
}

static int take_capabilities(uint64_t wanted, struct fault *f) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct has[2], set[2] = {{0}};
    if (syscall(SYS_capget, &head, has) < 0)
        return fault_set(f, errno, "read this thread's capabilities");
    for (int i = 0; i < 2; i++)
        set[i].effective = set[i].permitted = (uint32_t)(wanted >> (32 * i));
    if ((set[0].permitted & ~has[0].permitted) || (set[1].permitted & ~has[1].permitted))
        return fault_set(f, EPERM, "the agent lacks capabilities that the target's process has");
    if (syscall(SYS_capset, &head, set) < 0 || syscall(SYS_capget, &head, has) < 0)
        return fault_set(f, errno, "give up capabilities");
    if (memcmp(has, set, sizeof set) != 0)
        return fault_set(f, EPERM, "the target's capabilities did not take");
    return 0;
}

int credentials_take(const struct credentials *c, struct fault *f) {
    /* Modes come with the app's umask taken off. An agent beside its target has no CAP_SYS_ADMIN, and seccomp's usual profiles
     * forbid unshare(2) without: there the agent's own is taken off too, which is 0 but for the moment in which a door is made. */
    if (unshare(CLONE_FS) == 0)
        umask(0);
    if (take_groups(c, f) < 0 || take_user(c, f) < 0)
        return -1;
    return take_capabilities(c->capabilities, f);
}
