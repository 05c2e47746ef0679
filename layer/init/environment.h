/* Environments as exec takes them: NULL-terminated vectors of "NAME=value", merged. */
#pragma once

/* What `given` names wins over what `own` has; the order is own's, then what is new. A name of `given`'s without "=" takes the
 * variable out. A new vector of the same strings, or NULL when there is no memory. `given` may name a variable twice: the
 * last one counts. */
char **environment_merged(char *const *own, char *const *given);

/* The value in `environment`, or NULL. */
const char *environment_get(char *const *environment, const char *name);
