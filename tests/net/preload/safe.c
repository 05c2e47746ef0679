/* Calls through the layer from where little is allowed, each a way of its own: prints what came of it, a word.
 *
 * usage: safe WAY      /srv/d/file is the target's, ./own the container's */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_THERE "/srv/d/file"
#define OWN        "own"

static _Noreturn void end(const char *text) {
    ssize_t n = write(1, text, strlen(text));
    _exit(n < 0);
}

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            end(#condition "\n");                                                                  \
    } while (0)

static bool reads(const char *path, const char *begins) {
    char text[32] = "";
    int fd = open(path, O_RDONLY);
    bool same = fd >= 0 && read(fd, text, strlen(begins)) == (ssize_t)strlen(begins) &&
                memcmp(text, begins, strlen(begins)) == 0;
    if (fd >= 0)
        close(fd);
    return same;
}

static bool works(void) {
    struct stat s;
    return reads(FILE_THERE, "what is in it") && stat(FILE_THERE, &s) == 0 && s.st_size == 23 &&
           access("/srv/d/nothing", F_OK) < 0 && errno == ENOENT && reads(OWN, "own");
}

/* --- ahead of every constructor ------------------------------------------------------------------------------------------- */

static int before_all = -2, before_errno;

static void first(int argc, char **argv, char **environment) {
    (void)argc, (void)argv, (void)environment;
    before_all = open(FILE_THERE, O_RDONLY);
    before_errno = errno;
}

__attribute__((section(".preinit_array"), used)) static void (*preinit)(int, char **,
                                                                        char **) = first;

static void constructor(void) {
    MUST(before_all == -1 && before_errno == ENOENT); /* the container's, which has none */
    MUST(works());
}

/* --- in a signal handler, on a stack of its own ---------------------------------------------------------------------------- */

enum { TIMES = 50, ROOM = 32 * 1024 };
static volatile sig_atomic_t handled, wrong;
static const struct itimerval soon = {.it_value = {0, 1500}};

static void on_signal(int number) {
    (void)number;
    int before = errno;
    wrong += !works();
    if (++handled < TIMES)
        setitimer(ITIMER_REAL, &soon, NULL);
    errno = before;
}

static void in_a_handler(void) {
    char *guarded =
        mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(guarded != MAP_FAILED && mprotect(guarded, 4096, PROT_NONE) == 0);
    stack_t stack = {.ss_sp = guarded + 4096, .ss_size = ROOM};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART};
    MUST(sigaltstack(&stack, NULL) == 0 && sigaction(SIGALRM, &action, NULL) == 0);
    MUST(setitimer(ITIMER_REAL, &soon, NULL) == 0);
    while (handled < TIMES)
        MUST(works());
    MUST(!wrong);
}

/* --- after fork in a process of threads -------------------------------------------------------------------------------------- */

static volatile bool over;

static void *busy(void *unused) {
    (void)unused;
    while (!over)
        MUST(works());
    return NULL;
}

static void forked(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        MUST(pthread_create(&threads[i], NULL, busy, NULL) == 0);
    for (int i = 0; i < 50; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(20); /* a lock that nobody gives back */
            MUST(works() && chdir("/srv/d/sub") == 0 && reads("deep/leaf", "leaf"));
            _exit(0);
        }
        int status = 1;
        MUST(waitpid(child, &status, 0) == child && status == 0);
    }
    over = true;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
}

/* --- in a child that shares the memory ----------------------------------------------------------------------------------------- */

static void vforked(void) {
    MUST(reads(OWN, "own")); /* the directory is remembered */
    pid_t child = vfork();
    if (child == 0) {
        if (chdir("/srv/d/sub") < 0 || !reads("deep/leaf", "leaf"))
            _exit(1);
        execlp("cat", "cat", "../file", NULL);
        _exit(1);
    }
    int status = 1;
    MUST(waitpid(child, &status, 0) == child && status == 0);
    MUST(reads(OWN, "own") && !reads("deep/leaf", "leaf"));
}

/* --- without memory to be had ---------------------------------------------------------------------------------------------------- */

static bool none_left;
static char arena[1 << 20];
static size_t taken;

void *malloc(size_t n) {
    if (none_left)
        end("malloc\n");
    void *at = arena + taken;
    taken += (n + 15) & ~(size_t)15;
    return taken <= sizeof arena ? at : NULL;
}

void *calloc(size_t n, size_t size) {
    return malloc(n * size); /* the arena is zeroes, and nothing is given back */
}

void *realloc(void *old, size_t n) {
    void *made = malloc(n);
    return old && made ? memcpy(made, old, n) : made;
}

void free(void *p) {
    (void)p;
}

static void without_memory(void) {
    char text[4096];
    struct stat s;
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "/srv/d/nothing"};
    none_left = true;
    MUST(works() && lstat("/srv/d/link", &s) == 0 && S_ISLNK(s.st_mode));
    MUST(readlink("/srv/d/link", text, sizeof text) == 4);
    MUST(mkdir("/srv/d/made", 0700) == 0 && rename("/srv/d/made", "/srv/d/moved") == 0);
    MUST(rmdir("/srv/d/moved") == 0);
    MUST(chmod(FILE_THERE, 0644) == 0 && truncate("/srv/d/empty", 10) == 0);
    MUST(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name) < 0);
    MUST(execl("/srv/d/nothing", "nothing", NULL) < 0);
    MUST(realpath("/srv/d/link", text) && chdir("/srv/d") == 0 && getcwd(text, sizeof text));
    MUST(strcmp(text, "/srv/d") == 0 && reads("file", "what"));
}

/* --- under a filter of its own ------------------------------------------------------------------------------------------------- */

/* What a program of this much asks for; everything else has `otherwise`. */
static void allow_little(unsigned otherwise) {
#define ALLOW(number)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(SYS_openat),
        ALLOW(SYS_read),
        ALLOW(SYS_write),
        ALLOW(SYS_close),
        ALLOW(SYS_newfstatat),
        ALLOW(SYS_faccessat),
        ALLOW(SYS_exit_group),
        BPF_STMT(BPF_RET | BPF_K, otherwise),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0);
}

static void filtered(void) {
    struct stat s;
    MUST(reads(OWN, "own"));
    allow_little(SECCOMP_RET_KILL_PROCESS);
    MUST(reads("/usr/lib/os-release", "") && stat("/usr", &s) == 0 && access("/usr", R_OK) == 0);
    MUST(reads(OWN, "own")); /* the directory is known from before */
}

static void refused(void) {
    allow_little(SECCOMP_RET_ERRNO | EPERM);
    MUST(open(FILE_THERE, O_RDONLY) == -1 && errno == EPERM);
    MUST(reads("/usr/lib/os-release", ""));
}

/* What programs call that were built with a glibc before 2.33. */
static void old_names(void) {
    struct stat s;
    int (*xstat)(int, const char *, struct stat *) =
        (int (*)(int, const char *, struct stat *))dlsym(RTLD_DEFAULT, "__xstat");
    int (*lxstat)(int, const char *, struct stat *) =
        (int (*)(int, const char *, struct stat *))dlsym(RTLD_DEFAULT, "__lxstat64");
    int (*fxstatat)(int, int, const char *, struct stat *, int) =
        (int (*)(int, int, const char *, struct stat *, int))dlsym(RTLD_DEFAULT, "__fxstatat");
    MUST(xstat && lxstat && fxstatat);
    MUST(xstat(1, FILE_THERE, &s) == 0 && s.st_size == 23);
    MUST(xstat(1, "/srv/d/nothing", &s) < 0 && errno == ENOENT);
    MUST(lxstat(1, "/srv/d/link", &s) == 0 && S_ISLNK(s.st_mode));
    int d = open("/srv/d/sub", O_RDONLY | O_DIRECTORY);
    MUST(fxstatat(1, d, "deep/leaf", &s, 0) == 0 && s.st_size == 5);
    MUST(fxstatat(1, AT_FDCWD, OWN, &s, 0) == 0 && s.st_size == 4);
}

static void hostname(void) {
    char text[64] = "";
    int fd = open("/etc/hostname", O_RDONLY);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    text[n < 0 ? 0 : n] = '\0';
    end(text);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(void);
    } ways[] = {{"constructor", constructor}, {"handler", in_a_handler},  {"fork", forked},
                {"vfork", vforked},           {"memory", without_memory}, {"filter", filtered},
                {"refusing", refused},        {"old", old_names},         {"hostname", hostname}};
    for (size_t i = 0; argc == 2 && i < sizeof ways / sizeof *ways; i++)
        if (strcmp(argv[1], ways[i].name) == 0) {
            ways[i].run();
            end("safe\n");
        }
    return 2;
}
