#include "hook.h"

#include <dlfcn.h>
#include <stdatomic.h>

/* The name that it had before glibc 2.34 and has still: so the library loads wherever glibc is 2.17 or newer. */
#if defined(__GLIBC__) && defined(__x86_64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
#elif defined(__GLIBC__) && defined(__aarch64__)
__asm__(".symver dlsym, dlsym@GLIBC_2.17");
#endif

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

void *real_symbol(const char *name) {
    return dlsym(RTLD_DEFAULT, name);
}
