/* The agent's data plane: one loop thread; sessions, each with one data link and its targets.
 *
 * Python makes a session by its number, gives it targets (network namespaces by index) and the data link's fd once its
 * handshake is done; what the bridge opens on the link is then dialled from inside the target it names, and what is to be
 * mirrored is opened towards the bridge. Every call below may come from any thread: it runs on the loop's (loop_call).
 * What happens by itself is told through the outbox. */
#pragma once

#include "native/fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* cffi: begin */
struct engine;

struct engine_port {
    uint8_t proto; /* 6 or 17 */
    uint16_t target_port;
    uint16_t app_port;
};

/* What a session has done since it began. */
struct engine_counters {
    uint64_t connections, bytes, datagrams, joined, skipped, dropped,
        lost_packets;              /* wire.messages.Counters */
    uint64_t limited;              /* Counters too */
    uint64_t stolen, stolen_bytes; /* and these */
    uint32_t stolen_open;          /* of those, now */
    uint64_t opened; /* connections begun from targets, and associations that sent something */
    uint64_t sent, received;    /* octets of both, from the app and to it */
    uint64_t slowed;            /* datagrams dropped, either way, because of outgoing_rate */
    uint64_t datagrams_dropped; /* for want of room in the link, on the link there is now */
    uint32_t channels;          /* open now */
    bool files_read, files_written;
};

/* What a session may do of what it asks for. */
struct engine_limits {
    bool
        outgoing; /* connections, datagrams and echo requests of the app's, from its targets; else EACCES */
    bool metadata;        /* of these, to the cloud's metadata services (reach.h) */
    uint64_t mirror_rate; /* octets a second of all that is mirrored (mirror_rate.h); 0: no limit */
    uint64_t
        outgoing_rate; /* octets a second of all that the app sends from its targets and in their place, and of all it is sent (shaper.h); 0: no limit */
    uint32_t
        connections; /* open at a time, either way; further ones: EMFILE, or not mirrored; 0: no limit */
};

/* As struct mirror_seen. */
struct engine_seen {
    uint16_t target_port;
    uint64_t seen, matched, tls, other;
    uint32_t last_n;
    char last[200];
};

struct engine_listener {
    uint8_t proto;
    uint8_t loopback;
    uint16_t port;
};

/* `beside`: NULL, or an engine that lives longer. What happens by itself is then told by that one's outbox, links have numbers of
 * their own, and they carry files and Unix sockets and nothing else, on a thread that gives way to whoever carries packets: a
 * session has such a link besides its first, so that no packet waits behind a file's octets. */
struct engine *engine_new(struct engine *beside, struct fault *f);
int engine_run(struct engine *e,
               struct fault *f); /* on a thread of its own, until engine_stop; 0, or -1 */
void engine_stop(struct engine *e);
void engine_free(struct engine *e); /* after engine_run has returned; ends what sessions are left */

int engine_session_add(struct engine *e, uint32_t session, struct fault *f);
void engine_session_del(struct engine *e,
                        uint32_t session); /* its link and connections at once; unknown: nothing */

/* While there is no session: the memory that the last ones left behind goes back to the machine, the caller's too. */
void engine_rest(struct engine *e);

/* From now on; what is open stays. A session begins with everything allowed and no limit. */
int engine_session_limits(struct engine *e, uint32_t session, const struct engine_limits *limits,
                          struct fault *f);

/* Takes `fd`, also on failure. A link that the session had is closed first, its channels reset. Its number, or -1. `keeps`:
 * it may be resumed, and its Hello said so. */
int64_t engine_link_add(struct engine *e, uint32_t session, int fd, bool keeps, struct fault *f);
void engine_link_del(struct engine *e, uint32_t session);

/* Takes the session's link off its socket, if that has not happened by itself. Its number, and in *received how many octets
 * of it have come; -1: the session has none that keeps. */
int64_t engine_link_cut(struct engine *e, uint32_t session, uint64_t *received, struct fault *f);
/* Goes on by `fd` (taken, also on failure), the peer having `received` octets. -1: there is no such link, or that cannot be;
 * the link is as it was, engine_link_del is due. */
int engine_link_resume(struct engine *e, uint32_t session, int fd, uint64_t received,
                       struct fault *f);

/* `netns` is duplicated. The same index again replaces: what was open from it is reset. */
int engine_target_set(struct engine *e, uint32_t session, uint32_t target, int netns,
                      struct fault *f);
void engine_target_del(struct engine *e, uint32_t session, uint32_t target);

/* Files of this target are served from now on, as its process `pid` sees and may use them; `writes`: and changed. `pidfd`, which
 * is duplicated, says whether it is still that process. */
int engine_target_files(struct engine *e, uint32_t session, uint32_t target, int pid, int pidfd,
                        bool writes, struct fault *f);

/* Of what is mirrored only requests that match: `filters` as agent/http/filter.h reads them, n == 0: all. What was mirrored ends, and
 * the ports are to be said anew. -1: they are refused, and it is as it was. */
int engine_session_choose(struct engine *e, uint32_t session, const uint8_t *filters, size_t n,
                          struct fault *f);
/* What they saw at this target's ports so far, those that are mirrored: how many were filled, or -1. */
int engine_seen(struct engine *e, uint32_t session, uint32_t target, struct engine_seen *out,
                size_t capacity, struct fault *f);

/* What of this target is mirrored from now on; none ends it. -1 too when the session has no link, or no such target. */
int engine_mirror_ports(struct engine *e, uint32_t session, uint32_t target,
                        const struct engine_port *ports, size_t n, struct fault *f);
int engine_counters(struct engine *e, uint32_t session, struct engine_counters *out,
                    struct fault *f);

/* The engine's end of a gate's hand-over (SOCK_SEQPACKET; taken, also on failure): what comes by it goes to the apps of the
 * sessions it names. Its number, or -1. */
int64_t engine_gate_add(struct engine *e, int fd, struct fault *f);
void engine_gate_del(struct engine *e,
                     uint32_t gate); /* its connections are reset; unknown: nothing */
/* Says anew to the gate which sessions' links are there: it may not have known them when it was told. */
void engine_gate_sessions(struct engine *e, uint32_t gate);
/* Of this session: stolen connections that are idle end in order from the app's side, in all gates. */
void engine_hush(struct engine *e, uint32_t session);
/* Of this session: stolen connections whose client spoke last, in all gates. */
uint32_t engine_unanswered(struct engine *e, uint32_t session);

/* Outbox, arrays: [1, session, link number, reason]: this link has ended by itself;
 * [2, session, link number, reason]: it has lost its socket, and engine_link_resume or engine_link_del is due. */
int engine_outbox_fd(const struct engine *e);
size_t engine_outbox_pull(struct engine *e, void *buf, size_t capacity);

/* On the caller's thread. A sock_diag fd born in `netns`, the caller's to close; and what listens there. */
int engine_diag_open(int netns, struct fault *f);
int engine_listening(int diag, struct engine_listener *out, size_t capacity, struct fault *f);
/* cffi: end */
