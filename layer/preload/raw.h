/* System calls by the machine's own instruction: libc's functions are ours here, its syscall(2) too, and none of these is a
 * cancellation point. x86_64 and aarch64 (syscall(2), "Architecture calling conventions"). */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

/* The kernel's answer: a result, or -errno. */
static inline long raw_call(long n, long a, long b, long c, long d, long e, long f) {
#if defined(__x86_64__)
    long answer;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "another machine: its calling convention belongs here"
#endif
}

static inline long raw_checked(long answer) {
    if (answer >= 0 || answer < -4095)
        return answer;
    errno = (int)-answer;
    return -1;
}

/* In the argument that no call on files has: by it the filter of programs that have no layer (notified.h), under which a program
 * with one may have been started, knows what the layer has decided already. */
#define RAW_DECIDED 0x6d6972726f722d72

/* raw(number, up to six arguments): -1 and errno, as syscall(2). Pointers and integers are widened. */
#define raw(...)                                                                                   \
    RAW_PICK(__VA_ARGS__, RAW6, RAW5, RAW4, RAW3, RAW2, RAW1, RAW0, )                              \
    (__VA_ARGS__)
#define RAW_PICK(n, a, b, c, d, e, f, name, ...) name
#define RAW(n, a, b, c, d, e, f)                                                                   \
    raw_checked(raw_call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)))
#define RAW0(n)                   RAW(n, 0, 0, 0, 0, 0, RAW_DECIDED)
#define RAW1(n, a)                RAW(n, a, 0, 0, 0, 0, RAW_DECIDED)
#define RAW2(n, a, b)             RAW(n, a, b, 0, 0, 0, RAW_DECIDED)
#define RAW3(n, a, b, c)          RAW(n, a, b, c, 0, 0, RAW_DECIDED)
#define RAW4(n, a, b, c, d)       RAW(n, a, b, c, d, 0, RAW_DECIDED)
#define RAW5(n, a, b, c, d, e)    RAW(n, a, b, c, d, e, RAW_DECIDED)
#define RAW6(n, a, b, c, d, e, f) RAW(n, a, b, c, d, e, f)

/* "/proc/self/fd/N", by which whoever has the descriptor can name what it is of. */
struct fd_name {
    char text[32];
};

static inline struct fd_name fd_name(int fd) {
    struct fd_name name = {"/proc/self/fd/"};
    char digits[12];
    size_t at = sizeof "/proc/self/fd/" - 1, n = 0;
    for (unsigned rest = (unsigned)fd; n == 0 || rest; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    while (n)
        name.text[at++] = digits[--n];
    return name;
}
