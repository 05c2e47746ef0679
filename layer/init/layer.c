#include "layer.h"

#include "environment.h"

#include "layer/preload/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define RULES "/.mirror-run/rules"
#define UPPER "/.mirror-run/upper"

static int write_rules(const struct start *s, struct fault *f) {
    int fd = open(RULES, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
    if (fd < 0)
        return fault_set(f, errno, "write %s", RULES);
    size_t done = 0;
    while (done < s->rules_len) {
        ssize_t n = write(fd, s->rules + done, s->rules_len - done);
        if (n < 0 && errno != EINTR) {
            int err = errno;
            close(fd);
            return fault_set(f, err, "write %s", RULES);
        }
        done += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return 0;
}

/* For all, as /tmp: the command may run under several users, and none takes another's copies away. */
int layer_install(const struct start *s, struct fault *f) {
    if (s->rules_len == 0)
        return 0;
    if (write_rules(s, f) != 0)
        return -1;
    if (mkdir(UPPER, 0777) != 0 && errno != EEXIST)
        return fault_set(f, errno, "make %s", UPPER);
    if (chmod(UPPER, 01777) != 0)
        return fault_set(f, errno, "open %s to all", UPPER);
    place_begin();
    return 0;
}

char **layer_environment(char **environment) {
    const char *before = environment_get(environment, "LD_PRELOAD");
    char *given[] = {NULL, NULL};
    const char *joint = before != NULL && *before != '\0' ? ":" : "";
    if (asprintf(&given[0], "LD_PRELOAD=%s%s%s", before != NULL ? before : "", joint,
                 LAYER_PRELOAD) < 0)
        return NULL;
    return environment_merged(environment, given);
}
