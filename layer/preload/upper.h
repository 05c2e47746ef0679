/* The container's own copies of what is the target's to read: `/.mirror-run/upper/PATH`.
 *
 * With `read`, writes stay in the container. A file of the target that is opened for writing is copied there whole before it is
 * opened, so that read-modify-write loses nothing, and from then on that copy is what the path means, to every process of the
 * app. What is made anew is made there at once. What would have to be taken away from the target stays: EROFS. A folder of the
 * target stays the target's whatever is written in it: what was made there is found by its name, and is listed with what the target
 * has because the door is told where it is (upper_folder). */
#pragma once

#include "place.h"

/* The copy of `p`, if there is one: `p` is it now. */
bool upper_has(struct place *p);

/* The folder in which is what the app has made in this folder of the target's: a descriptor, or -1. errno is as it was. */
int upper_folder(const struct place *p);

/* `p` becomes its copy, which is made if the target has such a file (`body`: with what is in it). False: errno. */
bool upper_copy(struct place *p, bool body);

/* `p` becomes the place where something new of this name may be made: its folder is there, if the target has it. False: errno,
 * EEXIST if the target has the name already. */
bool upper_make(struct place *p);

/* `p` becomes the copy that is to be taken away. False: errno, EROFS if only the target has it. */
bool upper_take(struct place *p);

/* Whether the target has a Unix socket there, which is its server's and no file: the app may have one of its own by that name,
 * which hides it (upper_hide: `p` is where), and a server of the app's that begins by taking away the old one finds that done. */
bool upper_is_socket(const struct place *p);
bool upper_hide(struct place *p);
