/* The least a C test needs: EXPECT says where and what, a table names the tests, an alarm ends one that hangs. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXPECT(cond)                                                                               \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #cond);                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define EXPECT_TEXT(text, part)                                                                    \
    do {                                                                                           \
        if (strstr((text), (part)) == NULL) {                                                      \
            fprintf(stderr, "%s:%d: \"%s\" in \"%s\"\n", __FILE__, __LINE__, (part), (text));      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(name)                                                                                 \
    { #name, name }

/* All tests, or those whose names are given. */
static inline int check_main(const struct test *tests, size_t count, int argc, char **argv) {
    for (size_t i = 0; i < count; i++) {
        int wanted = argc == 1;
        for (int a = 1; a < argc; a++)
            wanted |= strcmp(argv[a], tests[i].name) == 0;
        if (!wanted)
            continue;
        alarm(60);
        fprintf(stderr, "%s ", tests[i].name);
        tests[i].run();
        fprintf(stderr, "ok\n");
    }
    return 0;
}

#define CHECK_MAIN(tests)                                                                          \
    int main(int argc, char **argv) {                                                              \
        return check_main(tests, sizeof tests / sizeof *tests, argc, argv);                        \
    }
