/* What is done to files in the rows of files, by one program for whoever serves them: plain calls of libc, so that where the layer
 * is loaded they are the target's, and where a peer is mounted they are the peer's.
 *
 *   files_load read PATH PASSES     whole, in order, PASSES times; before the first its pages are dropped; prints the seconds of each
 *   files_load small FOLDER COUNT   open, read, close of FOLDER/file-0 and so on, each once; prints "p50_us p99_us"
 *   files_load stat FOLDER COUNT    stat of FOLDER/file-0 and so on; prints the seconds of all
 *   files_load own PATH COUNT       stat of a path of this machine's own, COUNT times; prints the least CPU ns of one in five turns
 *   files_load wall PATH COUNT      the same by the clock
 *   files_load getc PATH OCTETS     octet by octet of a stream; prints the seconds of the quickest of five turns
 *   files_load beside PATH...       each read again and again by a process of its own, its pages dropped before each pass, until
 *                                   SIGTERM; then prints "seconds octets" of all */
#include "timed.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 128 * 1024, SMALL = 64 * 1024 }; /* as cat(1) reads; more than a small file has */

static int opened(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        die(path);
    return fd;
}

/* Of the file system it is read from; what serves that one has its own. */
static void drop_pages(const char *path) {
    int fd = opened(path);
    if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("posix_fadvise");
    close(fd);
}

static uint64_t read_whole(const char *path) {
    static uint8_t room[PIECE];
    int fd = opened(path);
    uint64_t octets = 0;
    for (ssize_t n; (n = read(fd, room, sizeof room)) != 0; octets += (uint64_t)n)
        if (n < 0)
            die("read");
    close(fd);
    return octets;
}

static int read_passes(const char *path, int passes) {
    drop_pages(path);
    for (int i = 0; i < passes; i++) {
        uint64_t began = now_ns();
        if (read_whole(path) == 0)
            return 1;
        printf("%.6f\n", (double)(now_ns() - began) / 1e9);
    }
    return 0;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int small(const char *folder, int count) {
    static uint8_t room[SMALL];
    char path[4096];
    uint64_t *took = calloc((size_t)count, sizeof *took);
    for (int i = 0; took && i < count; i++) {
        snprintf(path, sizeof path, "%s/file-%d", folder, i);
        uint64_t began = now_ns();
        int fd = opened(path);
        if (read(fd, room, sizeof room) <= 0)
            die(path);
        close(fd);
        took[i] = now_ns() - began;
    }
    if (!took)
        die("calloc");
    qsort(took, (size_t)count, sizeof *took, ascending);
    printf("%.3f %.3f\n", (double)took[count / 2] / 1e3, (double)took[count * 99 / 100] / 1e3);
    free(took);
    return 0;
}

static int stats(const char *folder, int count) {
    char path[4096];
    struct stat st;
    uint64_t began = now_ns();
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/file-%d", folder, i);
        if (stat(path, &st) < 0)
            die(path);
    }
    printf("%.6f\n", (double)(now_ns() - began) / 1e9);
    return 0;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int own(const char *path, int count) {
    struct stat st;
    uint64_t least = UINT64_MAX;
    for (int turn = 0; turn < 5; turn++) {
        uint64_t began = cpu_ns();
        for (int i = 0; i < count; i++)
            if (stat(path, &st) < 0)
                die(path);
        uint64_t took = cpu_ns() - began;
        least = took < least ? took : least;
    }
    printf("%.3f\n", (double)least / count);
    return 0;
}

/* The same by the clock: of a program without a layer another process works too. */
static int own_wall(const char *path, int count) {
    struct stat st;
    uint64_t least = UINT64_MAX;
    for (int turn = 0; turn < 5; turn++) {
        uint64_t began = now_ns();
        for (int i = 0; i < count; i++)
            if (stat(path, &st) < 0)
                die(path);
        uint64_t took = now_ns() - began;
        least = took < least ? took : least;
    }
    printf("%.3f\n", (double)least / count);
    return 0;
}

static int by_octets(const char *path, long octets) {
    uint64_t least = UINT64_MAX;
    unsigned sum = 0;
    for (int turn = 0; turn < 5; turn++) {
        uint64_t began = now_ns();
        FILE *f = fopen(path, "r");
        if (!f)
            die(path);
        for (long i = 0; i < octets; i++)
            sum += (unsigned)getc(f);
        fclose(f);
        uint64_t took = now_ns() - began;
        least = took < least ? took : least;
    }
    printf("%.6f\n", (double)least / 1e9 + (sum == 0)); /* so that none of it is left out */
    return 0;
}

static volatile sig_atomic_t over;

static void on_term(int number) {
    (void)number;
    over = 1;
}

static void read_again(const char *path, uint64_t *octets) {
    static uint8_t room[PIECE];
    signal(SIGTERM, SIG_DFL);
    for (;;) {
        drop_pages(path);
        int fd = opened(path);
        for (ssize_t n; (n = read(fd, room, sizeof room)) > 0;)
            *octets += (uint64_t)n;
        close(fd);
    }
}

static int beside(int count, char **paths) {
    uint64_t *octets = mmap(NULL, (size_t)count * sizeof *octets, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t *children = calloc((size_t)count, sizeof *children);
    if (octets == MAP_FAILED || !children)
        die("memory");
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    signal(SIGTERM, on_term);
    uint64_t began = now_ns(), all = 0;
    for (int i = 0; i < count; i++)
        if ((children[i] = fork()) == 0) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            read_again(paths[i], &octets[i]);
        }
    while (!over)
        sigsuspend(&before);
    uint64_t took = now_ns() - began;
    for (int i = 0; i < count; i++) {
        kill(children[i], SIGTERM);
        waitpid(children[i], NULL, 0);
        all += octets[i];
    }
    printf("%.6f %llu\n", (double)took / 1e9, (unsigned long long)all);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "read") == 0)
        return read_passes(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "small") == 0)
        return small(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "stat") == 0)
        return stats(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "own") == 0)
        return own(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "wall") == 0)
        return own_wall(argv[2], atoi(argv[3]));
    if (argc == 4 && strcmp(argv[1], "getc") == 0)
        return by_octets(argv[2], atol(argv[3]));
    if (argc > 2 && strcmp(argv[1], "beside") == 0)
        return beside(argc - 2, argv + 2);
    fprintf(stderr, "usage: see files_load.c\n");
    return 2;
}
