/* The state of HTTP/1 on one connection; http1_request.c moves the client's side, http1_reply.c the answers', http1.c the rest. */
#pragma once

#include "agent/gate/http1.h"
#include "agent/gate/http1_answer.h"
#include "agent/gate/http1_held.h"
#include "agent/http/http1_head.h"

#define HTTP1_PENDING 32 /* requests that one party may owe an answer to; the next is not taken */
#define HTTP1_LINGER                                                                               \
    5000 /* milliseconds that a client has to close after us, or to say something while we drain */

/* What the client's next octets are. */
enum http1_phase {
    HTTP1_IN_HEAD,  /* of a request whose party is not known */
    HTTP1_ROUTED,   /* a head whose party is known, and which waits for it */
    HTTP1_STREAMED, /* a head whose beginning was forwarded: the target's */
    HTTP1_IN_BODY,
    HTTP1_AWAITS,   /* not known before the answer: it may end HTTP/1, or the connection */
    HTTP1_GIVEN_UP, /* the target's, raw, once no app owes an answer */
    HTTP1_CLOSING,  /* nobody's: our end is sent, the client's is waited for */
};

enum http1_leg { HTTP1_LEG_NONE, HTTP1_LEG_ASKED, HTTP1_LEG_UP };

enum { HTTP1_HEAD_METHOD = 1, HTTP1_CONNECT = 2 };

struct http1 {
    struct exchange *x;
    uint8_t phase;              /* enum http1_phase */
    uint8_t why;                /* GIVEN_UP: enum exchange_why */
    uint8_t dest;               /* whom the last request was given to */
    uint8_t next;               /* ROUTED: whom this one is to be given to */
    bool any;                   /* a request was seen */
    bool client_ended;          /* and an app was told */
    bool target_ended;          /* likewise its end: it was told in an app's turn */
    bool target_lost;           /* reset while an app's answer was under way */
    bool last;                  /* the app's answer that is under way is the connection's last */
    uint8_t leg[EXCHANGE_APPS]; /* enum http1_leg */
    uint8_t pending[HTTP1_PENDING]; /* methods that `dest` owes an answer to, a ring */
    uint8_t first, count;
    uint64_t lost_at;    /* when the app of `dest` is given up, or EXCHANGE_NEVER */
    uint64_t linger_at;  /* CLOSING, or draining and idle */
    uint32_t generation; /* of the rules that `judge` is about */
    struct exchange_judge judge;
    struct http1_head head;
    struct http1_body body; /* the request's */
    struct http1_answer answer;
    struct http1_held held; /* of the one request that an app owes an answer to */
};

static inline bool http1_app_owes(const struct http1 *h) {
    return h->count > 0 && h->dest >= EXCHANGE_APP;
}

/* It owes an answer, or is still being told its request. */
static inline bool http1_apps_turn(const struct http1 *h) {
    return h->dest >= EXCHANGE_APP && (h->count > 0 || h->phase == HTTP1_IN_BODY);
}

size_t http1_request(struct http1 *h, const uint8_t *p, size_t n, bool end, uint64_t now);
size_t http1_reply(struct http1 *h, unsigned party, const uint8_t *p, size_t n, bool end,
                   uint64_t now);

/* Our end to everybody, in order; what the client still sends is nobody's. */
void http1_close(struct http1 *h, uint64_t now);
/* The app that owes is lost: its 502, or a reset. */
void http1_lost(struct http1 *h, uint64_t now);
/* The target's from here on: at once, or when no app owes an answer any more. */
void http1_give_up(struct http1 *h, enum exchange_why why);
/* No answer is owed any more. */
void http1_settled(struct http1 *h, uint64_t now);
void http1_drop_leg(struct http1 *h, unsigned party);
