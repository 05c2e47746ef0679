/* What of one client's octets a mirror copies where a filter chooses: the requests that match, whole, and nothing of the
 * others. Sans-io: knows no packet, no channel, no clock; its owner (the shell) couples it to them.
 *
 *     sieve_take(octets)  ─►  sieve  ─►  ops: open, give, answer, seen
 *
 * Octets in: what the target has acknowledged of a connection that is seen from its beginning, or from a request's (then it
 * is HTTP/1). A prefix is taken; the rest is offered again, the same octets first and what came since behind them. Of what
 * was not taken no copy is kept: a head is judged where it lies, and so must lie in one piece. What a body is made of is
 * taken in any pieces.
 *
 * Octets out: HTTP/1 as it came. HTTP/2 by a client's session of its own (nghttp2) with the app: the app's windows are not the
 * target's, its settings neither, and of the client's header blocks some are left out. So the app's octets are told too.
 *
 * What cannot be read without a doubt ends the copying of this connection (sieve_over): TLS, no HTTP, a head over SIEVE_HEAD, one
 * that two servers could read in two ways. Requests that were copied before stay so. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIEVE_HEAD 65536 /* octets of a head, or of an HTTP/2 block with its frames, at most */

struct http_filter;

enum sieve_leg {
    SIEVE_NONE,  /* there is none, and for this request there will be none */
    SIEVE_FRESH, /* another than the last; nothing was given to it */
    SIEVE_SAME,
};

enum {
    SIEVE_NOT_YET = -1,
    SIEVE_NOBODY_KNOWS = 0,
    SIEVE_WENT_ON = 1 /* with HTTP, whatever the code */
};

struct sieve_ops {
    /* The app's connection is wanted, for a request that begins: the one there is, while the app has not ended it. */
    enum sieve_leg (*open)(void *shell);
    /* How many the app takes now; the rest is given again after sieve_take or sieve_pump. */
    size_t (*give)(void *shell, const void *p, size_t n);
    /* The app broke the protocol: its connection is reset; another one may be opened. */
    void (*drop)(void *shell);
    /* The status code of the target's answer to all that was taken so far, the last request being one after which the
     * protocol may be another; or one of the above. */
    int (*answer)(void *shell);
    /* A request was judged. `line` is its first, cut and clean (agent/http/line.h). */
    void (*seen)(void *shell, bool matched, const char *line, size_t n);
};

enum sieve_why {
    SIEVE_GOES_ON,
    SIEVE_TLS,
    SIEVE_NOT_HTTP,
    SIEVE_LONG,
    SIEVE_MALFORMED,
    SIEVE_UNSURE, /* whether the target changed the protocol */
    SIEVE_NO_MEMORY,
};

struct sieve;

/* `ops` and `filter` are borrowed. NULL: no memory. */
struct sieve *sieve_new(const struct sieve_ops *ops, void *shell, const struct http_filter *filter);
void sieve_free(struct sieve *s); /* calls no op */

/* How many of these octets were taken. `all`: they are all that will be seen in one piece, whatever comes. */
size_t sieve_take(struct sieve *s, const uint8_t *p, size_t n, bool all);
/* The app has room: what is the sieve's own is given. */
void sieve_pump(struct sieve *s);
/* Octets of the app's. */
void sieve_answered(struct sieve *s, const uint8_t *p, size_t n);
/* Its connection is no more, by whomever: what it had of a request is all it gets of it. */
void sieve_lost(struct sieve *s);

/* Not SIEVE_GOES_ON: nothing more is copied. */
enum sieve_why sieve_over(const struct sieve *s);
/* The app has a request of which not all was given, of what has been taken. */
bool sieve_owes(const struct sieve *s);
/* Nothing of the sieve's own is to be given, and no request of HTTP/2 waits for its answer, which an end might cancel: it may be
 * told. */
bool sieve_idle(const struct sieve *s);
