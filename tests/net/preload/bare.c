/* What programs without a layer do beside reading, one deed a run: linked statically. With musl's loader it has a layer.
 *
 * usage: bare DEED ARGUMENTS...; each deed says what it saw */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "layer/preload/seccomp.h"

static int cat(const char *path) {
    char text[256];
    int fd = open(path, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, text, sizeof text);
    if (n < 0)
        printf("errno %d\n", errno);
    else
        printf("%.*s", (int)n, text);
    fflush(stdout);
    if (fd >= 0)
        close(fd);
    return 0;
}

static int started(char **command, pid_t (*fork_)(void)) {
    int status = -1;
    pid_t child = fork_();
    if (child == 0) {
        execv(command[0], command);
        _exit(99);
    }
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

/* --- signals while calls are made for it ------------------------------------------------------------------------------------ */

static volatile sig_atomic_t ticks;

static void tick(int number) {
    (void)number;
    ticks++;
}

static int makes(const char *path) {
    return (mkdir(path, 0700) != 0) + (rmdir(path) != 0);
}

static int looks(const char *path) {
    struct stat s;
    int fd = open(path, O_RDONLY);
    return (stat(path, &s) != 0) + (close(fd) != 0);
}

static int signals(const char *path, int times, int (*deed)(const char *)) {
    const struct sigaction act = {.sa_handler = tick, .sa_flags = SA_RESTART};
    const struct itimerval every = {{0, 50}, {0, 50}};
    int failed = 0;
    sigaction(SIGALRM, &act, NULL);
    setitimer(ITIMER_REAL, &every, NULL);
    for (int i = 0; i < times; i++)
        failed += deed(path);
    printf("%s, %d failed\n", ticks > times / 10 ? "many signals" : "few signals", failed);
    return 0;
}

/* --- many at once ------------------------------------------------------------------------------------------------------------ */

static const char *shared;
static int rounds;

static void *reader(void *arg) {
    long wrong = 0;
    (void)arg;
    for (int i = 0; i < rounds; i++) {
        char text[64];
        struct stat s;
        int fd = open(shared, O_RDONLY);
        if (fd < 0 || read(fd, text, sizeof text) < 4 || memcmp(text, "what", 4) != 0 ||
            stat(shared, &s) != 0)
            wrong++;
        close(fd);
    }
    return (void *)wrong;
}

static int threads(const char *path, int times) {
    pthread_t all[16];
    long wrong = 0;
    shared = path;
    rounds = times;
    for (int i = 0; i < 16; i++)
        pthread_create(&all[i], NULL, reader, NULL);
    for (int i = 0; i < 16; i++) {
        void *result;
        pthread_join(all[i], &result);
        wrong += (long)result;
    }
    printf("16 threads, %ld wrong\n", wrong);
    return 0;
}

/* --- anything at all --------------------------------------------------------------------------------------------------------- */

static const int asked[] = {
#define CALL(name, ...) SYS_##name,
#include "layer/preload/notified.def"
#undef CALL
};

static unsigned long drawn(unsigned long *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Wrong numbers and wrong memory for each of the calls; what counts is that this program is still answered in the end. It must be
 * run where nothing can be changed: it climbs to the root and changes modes and owners there. */
static int noise(unsigned long seed, int times) {
    char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(page + 4096, 4096);
    const char *paths[] = {"/srv/d/x", "/srv/d/file/", "/srv/d/loop", "..", "", "/srv/d/sub/../.."};
    unsigned long state = seed | 1;
    for (int i = 0; i < times; i++) {
        long a[6];
        for (int k = 0; k < 6; k++) {
            unsigned long d = drawn(&state);
            strcpy(page + 64, paths[d % 6]);
            memset(page + 4096 - 8, 'x', 8); /* a string that does not end before the page does */
            const long some[] = {(long)(page + 64),
                                 (long)(page + 4096 - 8),
                                 0,
                                 -100,
                                 3,
                                 (long)(d >> 8),
                                 (long)page,
                                 1,
                                 -1,
                                 70000};
            a[k] = some[(d >> 4) % 10];
        }
        int number = asked[drawn(&state) % (sizeof asked / sizeof *asked)];
        if (number == SYS_mknod || number == SYS_mknodat)
            continue; /* a FIFO would be waited at */
        long done = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
        if (done > 2 && done < 1000)
            close((int)done);
    }
    return cat("/srv/d/sub/deep/leaf");
}

#define REFUSED 0x00050000u /* SECCOMP_RET_ERRNO */

/* --- filters of its own ------------------------------------------------------------------------------------------------------ */

static int filtered(int number, unsigned flags, unsigned action) {
    struct sock_filter code[] = {
        BPF_LOAD(offsetof(struct seccomp_data, nr)),
        BPF_EQUAL(number, 0, 1),
        BPF_RETURN(action),
        BPF_RETURN(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {4, code};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
}

static int filters(const char *path) {
    int own = filtered(SYS_mkdir, 0, REFUSED | EUCLEAN);
    printf("filter %d", own);
    printf(", mkdir errno %d", mkdir(path, 0700) ? errno : 0);
    int listener = filtered(SYS_mkdir, SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_USER_NOTIF);
    printf(", listener errno %d\n", listener < 0 ? errno : 0);
    return 0;
}

/* As an engine whose profile forbids seccomp(2). */
static int forbidden(char **command) {
    if (filtered(SYS_seccomp, 0, REFUSED | EPERM) != 0)
        return 97;
    return execv(command[0], command);
}

/* --- limits and costs -------------------------------------------------------------------------------------------------------- */

static int full(const char *path) {
    const struct rlimit limit = {8, 8};
    int last = -1, n = 0;
    setrlimit(RLIMIT_NOFILE, &limit);
    while ((last = open(path, O_RDONLY)) >= 0)
        n++;
    printf("%d, then errno %d\n", n, errno);
    return 0;
}

static int cost(const char *path, int times) {
    struct timespec a, b;
    struct stat s;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < times; i++)
        stat(path, &s);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%ld\n", ((b.tv_sec - a.tv_sec) * 1000000000L + b.tv_nsec - a.tv_nsec) / times);
    return 0;
}

int main(int argc, char **argv) {
    const char *deed = argc > 2 ? argv[1] : "";
    int number = argc > 3 ? atoi(argv[3]) : 0;
    if (strcmp(deed, "cat") == 0)
        return cat(argv[2]);
    if (strcmp(deed, "fork") == 0)
        return started(argv + 2, fork);
    if (strcmp(deed, "vfork") == 0)
        return started(argv + 2, vfork);
    if (strcmp(deed, "exec") == 0)
        return execv(argv[2], argv + 2) ? errno : 0;
    if (strcmp(deed, "signals") == 0)
        return signals(argv[2], number, makes);
    if (strcmp(deed, "interrupted") == 0)
        return signals(argv[2], number, looks);
    if (strcmp(deed, "threads") == 0)
        return threads(argv[2], number);
    if (strcmp(deed, "noise") == 0)
        return noise((unsigned long)atol(argv[2]), number);
    if (strcmp(deed, "filters") == 0)
        return filters(argv[2]);
    if (strcmp(deed, "forbid") == 0)
        return forbidden(argv + 2);
    if (strcmp(deed, "full") == 0)
        return full(argv[2]);
    if (strcmp(deed, "cost") == 0)
        return cost(argv[2], number);
    return 98;
}
