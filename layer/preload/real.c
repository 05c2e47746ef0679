#include "hook.h"

#include <dlfcn.h>
#include <stdatomic.h>

static const char *const names[] = {
#define HOOK(name, family) #name,
#include "hooks.def"
#undef HOOK
};

static _Atomic(void *) found[HOOKS];

void *real_of(enum hook hook) {
    void *f = atomic_load_explicit(&found[hook], memory_order_acquire);
    if (f)
        return f;
    f = dlsym(RTLD_NEXT, names[hook]);
    atomic_store_explicit(&found[hook], f, memory_order_release);
    return f;
}
