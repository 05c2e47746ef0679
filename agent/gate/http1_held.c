/* See http1_held.h. */
#include "agent/gate/http1_held.h"
#include "agent/http/method.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 2048 /* nearly all that may be repeated fits, and the memory stays for the next */

void http1_held_begin(struct http1_held *h, const uint8_t *method, size_t n) {
    h->n = 0;
    h->may = http_method_is_safe(method, n);
}

void http1_held_add(struct http1_held *h, const uint8_t *p, size_t n) {
    if (!h->may || n == 0)
        return;
    if (h->n + n > h->room) {
        size_t room = h->n + n > SMALL ? HTTP1_HELD : SMALL;
        uint8_t *more = h->n + n <= room ? realloc(h->p, room) : NULL;
        if (more == NULL) {
            http1_held_done(h);
            return;
        }
        h->p = more;
        h->room = room;
    }
    memcpy(h->p + h->n, p, n);
    h->n += n;
}

void http1_held_done(struct http1_held *h) {
    h->may = false;
    h->n = 0;
    if (h->room > SMALL)
        http1_held_free(h);
}

void http1_held_free(struct http1_held *h) {
    free(h->p);
    memset(h, 0, sizeof *h);
}
