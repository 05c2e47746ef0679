#include "call.h"

#include <stddef.h>
#include <sys/syscall.h>

#define PLAIN                   RESULT_PLAIN, -1
#define DESCRIPTOR(at)          RESULT_DESCRIPTOR, at
#define DESCRIPTOR_HOW(at)      RESULT_DESCRIPTOR_HOW, at
#define DESCRIPTOR_KEPT         RESULT_DESCRIPTOR, -1
#define REPLACED                RESULT_REPLACED, -1
#define CALL(name, result, ...) {SYS_##name, result, {__VA_ARGS__}},

static const struct call calls[] = {
#include "layer/preload/notified.def"
};

const struct call *call_of(int number) {
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == number)
            return &calls[i];
    return NULL;
}
