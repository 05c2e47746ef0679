/* A program without a layer, as mirror-init starts and serves it, without the rest of mirror-init.
 *
 * usage: supervised PROGRAM ARGUMENTS...      its exit code is the program's, or 100 and a sentence */
#include "layer/init/supervisor.h"
#include "layer/preload/listener.h"
#include "layer/preload/place.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct start start = {0};
    struct fault f;
    int status = 0, listening;
    place_begin();
    if (argc < 2 || !place_active())
        return 100;
    if (supervisor_possible(&f) != 0 || (listening = supervisor_listen(&f)) < 0) {
        fprintf(stderr, "%s\n", f.text);
        return 100;
    }
    pid_t child = fork();
    if (child == 0) {
        listener_before(AT_FDCWD, argv[1], environ);
        execv(argv[1], argv + 1);
        _exit(101);
    }
    if (supervisor_start(listening, &start, &f) != 0) {
        fprintf(stderr, "%s\n", f.text);
        return 100;
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
