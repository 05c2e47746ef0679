#include "layer/files/watches.h"

#include "layer/files/look.h"
#include "native/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SPARE "spare"

struct watch {
    struct watch *next;
    bool no_follow;
    int shadow; /* its folder; of a file the one that the file "f" is in */
    uint32_t number;
    struct look look;
    char path[];
};

/* --- the shadows' file system --------------------------------------------------------------------------------------------- */

static int shadows_new(void) {
    int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (context < 0)
        return -errno;
    int made = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "mode", "0755", 0) == 0 &&
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        made = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC,
                            MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (made >= 0 && mkdirat(made, SPARE, 0700) < 0) {
        close(made);
        made = -1;
    }
    int err = errno;
    close(context);
    return made < 0 ? -err : made;
}

static int folder_of(int shadows, const char *name) {
    return openat(shadows, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* --- a watch ---------------------------------------------------------------------------------------------------------------- */

static void watch_free(struct watch *one) {
    look_free(&one->look);
    close(one->shadow);
    free(one);
}

/* What it watched is no more: nor is its shadow, which is how the app hears of it. */
static void shadow_gone(struct watches *w, struct watch *one) {
    static const struct look nothing = {0};
    char name[16];
    snprintf(name, sizeof name, "%u", one->number);
    look_replay(one->shadow, one->shadow, &one->look, &nothing);
    unlinkat(w->shadow, name, AT_REMOVEDIR);
}

static struct watch *watch_new(struct watches *w, const char *path, bool no_follow,
                               struct look *look) {
    static const struct look nothing = {0};
    char name[16];
    size_t n = strlen(path) + 1;
    struct watch *one = calloc(1, sizeof *one + n);
    if (!one)
        return NULL;
    memcpy(one->path, path, n);
    one->no_follow = no_follow;
    one->number = ++w->made;
    snprintf(name, sizeof name, "%u", one->number);
    if (mkdirat(w->shadow, name, 0755) < 0 || (one->shadow = folder_of(w->shadow, name)) < 0) {
        free(one);
        return NULL;
    }
    one->look = *look;
    look_replay(one->shadow, one->shadow, &nothing, look);
    return one;
}

static int place_of(const struct watch *one) {
    int fd = openat(one->shadow, one->look.folder ? "." : "f", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* --- looking again ---------------------------------------------------------------------------------------------------------- */

/* False: it is no more. An agent that is away is no news. */
static bool look_again(struct watches *w, struct watch *one, int spare) {
    struct look now;
    int err = look_take(w->mount, one->path, one->no_follow, WATCHES_NAMES, &now);
    if (err < 0)
        return err != -ENOENT && err != -ENOTDIR;
    if (now.inode != one->look.inode || now.folder != one->look.folder) {
        look_free(&now);
        return false; /* another by its name: inotify(7) is about the one that was there */
    }
    look_replay(one->shadow, spare, &one->look, &now);
    look_free(&one->look);
    one->look = now;
    return true;
}

static void look_at_all(struct watches *w) {
    int spare = folder_of(w->shadow, SPARE);
    pthread_mutex_lock(&w->lock);
    struct watch *first = w->first;
    pthread_mutex_unlock(&w->lock);
    for (struct watch *one = first, *next; one && !w->over; one = next) {
        next = one->next;
        if (look_again(w, one, spare))
            continue;
        pthread_mutex_lock(&w->lock);
        struct watch **at = &w->first;
        while (*at != one)
            at = &(*at)->next;
        *at = one->next;
        w->count--;
        pthread_mutex_unlock(&w->lock);
        shadow_gone(w, one);
        watch_free(one);
    }
    if (spare >= 0)
        close(spare);
}

static void *run(void *arg) {
    struct watches *w = arg;
    struct timespec until;
    pthread_mutex_lock(&w->lock);
    while (!w->over) {
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += WATCHES_EVERY / 1000;
        until.tv_nsec += WATCHES_EVERY % 1000 * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        while (!w->over && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
            ;
        if (w->over)
            break;
        pthread_mutex_unlock(&w->lock);
        look_at_all(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* --- from outside ------------------------------------------------------------------------------------------------------------- */

static struct watch *find(const struct watches *w, const char *path, bool no_follow) {
    struct watch *one = w->first;
    while (one && (one->no_follow != no_follow || strcmp(one->path, path) != 0))
        one = one->next;
    return one;
}

/* The lock is held. */
static int begin(struct watches *w) {
    if (w->shadow < 0) {
        int made = shadows_new();
        if (made < 0)
            return made;
        w->shadow = made;
    }
    if (!w->runs) {
        int err = pthread_create(&w->thread, NULL, run, w);
        if (err)
            return -err;
        w->runs = true;
    }
    return w->count < WATCHES_MOST ? 0 : -ENOSPC;
}

int watches_add(struct watches *w, const char *path, bool no_follow) {
    struct look look;
    int result = look_take(w->mount, path, no_follow, WATCHES_NAMES, &look);
    if (result < 0)
        return result;
    pthread_mutex_lock(&w->lock);
    struct watch *one = find(w, path, no_follow);
    if (one)
        look_free(&look);
    else if ((result = begin(w)) == 0) {
        one = watch_new(w, path, no_follow, &look);
        result = one ? 0 : -ENOMEM;
        if (one) {
            one->next = w->first;
            w->first = one;
            w->count++;
        }
    }
    if (!one)
        look_free(&look);
    result = one ? place_of(one) : result;
    pthread_mutex_unlock(&w->lock);
    return result;
}

void watches_init(struct watches *w, int mount) {
    pthread_condattr_t monotonic;
    *w = (struct watches){.mount = mount, .shadow = -1};
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void watches_close(struct watches *w) {
    pthread_mutex_lock(&w->lock);
    w->over = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->runs)
        pthread_join(w->thread, NULL);
    while (w->first) {
        struct watch *one = w->first;
        w->first = one->next;
        watch_free(one);
    }
    if (w->shadow >= 0)
        close(w->shadow);
}
