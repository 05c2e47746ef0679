/* One notification: a call of a program without a layer, made for it by the layer's own code, or left to its kernel. */
#pragma once

struct seccomp_notif;

/* What a thread that serves needs room for: strings, and what is read and written. */
struct desk;
struct watchers;
struct desk *desk_new(struct watchers *watchers); /* which all have; or NULL */

/* Answers `asked` at its listener. `waits` is called before it waits for the door, perhaps more than once. */
void serve(struct desk *d, int listener, const struct seccomp_notif *asked, void (*waits)(void *),
           void *arg);
