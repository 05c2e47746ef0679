/* execve(2) of a target's program for a program without a layer, which nobody but itself can do: so the program is laid down in the
 * container under its own name first, as shadow.h does it with a directory.
 *
 * What lies there is a symbolic link to a copy, which is made anew when the target's is another. Where the container has a file of
 * its own by that name that is the same, it is run; one that differs is nobody's to replace: EACCES. A script's interpreter is the
 * kernel's to find by its path, and so it is laid down too. */
#pragma once

/* Decides, lays down, and leaves the call to the caller; or -1 and errno. */
int laid_run(const char *path);
