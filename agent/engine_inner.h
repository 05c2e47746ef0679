/* What the files of the engine share and nobody else sees: its sessions and their places, its gates, and how a call is carried. */
#pragma once

#include "agent/dial.h"
#include "agent/engine.h"
#include "agent/files/files.h"
#include "agent/files/joined.h"
#include "agent/http/filter.h"
#include "agent/mirror.h"
#include "agent/steal.h"
#include "native/loop.h"
#include "native/mux.h"
#include "native/outbox.h"

struct engine {
    struct loop *loop;
    struct outbox *outbox; /* its own, or of the one that it is beside */
    bool beside;
    struct dial_desk desk;
    struct session *sessions;
    struct gate *gates;
    struct files_desk *files;
    uint32_t last_link, last_gate;
};

/* A target in its place: the dialling side of it, and its mirror while there are ports to mirror and a link to carry it. */
struct place {
    struct place *next;
    uint32_t index;
    struct target target;
    struct mirror *mirror;
    struct files_target files;
    struct joined *sockets; /* of the target's, connected */
};

struct session {
    struct session *next;
    struct engine *engine;
    uint32_t number, link;
    struct mux *mux; /* NULL: no link */
    bool keeps, cut; /* of the link */
    struct place *places;
    struct mirror_counters past; /* of mirrors that are no more */
    struct steal_counters stolen;
    struct outgoing out;
    struct files_used files;
    struct mirror_rate rate;
    struct http_filter *filter; /* of what is mirrored; NULL: all of it */
    uint32_t most;              /* channels at a time; 0: no limit */
};

/* --- calls: each is carried to the loop's thread --- */

struct call {
    struct engine *engine;
    uint32_t session, target;
    int fd;
    bool keeps;
    uint64_t received;
    uint32_t gate;
    const struct engine_port *ports;
    size_t n;
    const struct engine_limits *limits;
    const struct files_target *files;
    struct engine_counters *counters;
    const uint8_t *octets;
    struct engine_seen *seen;
    struct fault *fault;
    int64_t result;
};

struct session *session_find(const struct engine *e, uint32_t number); /* or NULL */
struct place *place_find(const struct session *s, uint32_t index);
/* That a call is about; NULL: there is none, and the call's result says so. */
struct session *session_of(struct call *c);

/* Its mirror's counters stay the session's. */
void place_mirror_end(struct session *s, struct place *p);

/* engine_files.c */
struct channel *place_files_open(struct session *s, struct place *p, const struct channel_open *o,
                                 int *err);
void place_files_end(struct engine *e, struct place *p);

/* engine_gate.c */
void gates_session(
    const struct session *s); /* its link has come, or gone, or is cut: every gate is told */
void gates_free(struct engine *e);
