#include "mapped.h"

enum op { OCTETS, SPLIT, SAVE, BEGIN, END, MATCH, OPS };

enum { HEAD = 6, STEP = 6, SET = 32, NONE = 0xffff };

struct program {
    const uint8_t *steps, *sets, *parts;
    uint16_t count, set_count, parts_len;
};

static struct program program_at(const uint8_t *at) {
    struct program p = {
        .count = rules_u16(at), .set_count = rules_u16(at + 2), .parts_len = rules_u16(at + 4)};
    p.steps = at + HEAD;
    p.sets = p.steps + (size_t)STEP * p.count;
    p.parts = p.sets + (size_t)SET * p.set_count;
    return p;
}

static size_t length(const struct program *p) {
    return HEAD + (size_t)STEP * p->count + (size_t)SET * p->set_count + p->parts_len;
}

struct step {
    uint16_t op, x, y;
};

static struct step step_at(const struct program *p, uint32_t pc) {
    const uint8_t *at = p->steps + (size_t)STEP * pc;
    return (struct step){rules_u16(at), rules_u16(at + 2), rules_u16(at + 4)};
}

/* --- whether it is one -------------------------------------------------------------------------------------------------------- */

/* Every step leads to one, every set and slot is there. */
static bool steps_sound(const struct program *p) {
    for (uint32_t pc = 0; pc < p->count; pc++) {
        struct step s = step_at(p, pc);
        bool goes_on = s.op != SPLIT && s.op != MATCH;
        if (s.op >= OPS || (goes_on && pc + 1 == p->count) ||
            (s.op == SPLIT && (s.x >= p->count || s.y >= p->count)) ||
            (s.op == OCTETS && s.x >= p->set_count) || (s.op == SAVE && s.x >= MAPPED_SLOTS))
            return false;
    }
    return p->count > 0 && p->count <= MAPPED_STEPS;
}

static bool parts_sound(const struct program *p) {
    size_t at = 0;
    while (at < p->parts_len) {
        if (p->parts_len - at < 4)
            return false;
        uint16_t group = rules_u16(p->parts + at), n = rules_u16(p->parts + at + 2);
        at += 4u + n;
        if (at > p->parts_len || (group && (n || 2 * group + 1 >= MAPPED_SLOTS)))
            return false;
    }
    return true;
}

size_t mapped_program(const uint8_t *at, size_t left) {
    if (left < HEAD)
        return left + 1;
    struct program p = program_at(at);
    size_t n = length(&p);
    return n <= left && steps_sound(&p) && parts_sound(&p) ? n : left + 1;
}

/* --- running ------------------------------------------------------------------------------------------------------------------ */

struct thread {
    uint16_t pc;
    uint16_t slots[MAPPED_SLOTS];
};

/* Those that are at one place of the path, the one that counts most first. */
struct threads {
    uint16_t count;
    struct thread all[MAPPED_STEPS];
};

/* Puts in where a thread comes to without an octet; of several at one step the first. `slots` is as it was afterwards. */
static void add(const struct program *p, struct threads *to, uint8_t seen[MAPPED_STEPS],
                uint16_t pc, uint16_t slots[MAPPED_SLOTS], uint16_t at, size_t len) {
    struct { /* what is still to be done; `slot` NONE: a step, else: what stood in it */
        uint16_t pc, slot;
    } stack[2 * MAPPED_STEPS];
    uint32_t depth = 0;
    stack[depth].pc = pc;
    stack[depth++].slot = NONE;
    while (depth) {
        pc = stack[--depth].pc;
        if (stack[depth].slot != NONE) {
            slots[stack[depth].slot] = pc;
            continue;
        }
        if (seen[pc])
            continue;
        seen[pc] = 1;
        struct step s = step_at(p, pc);
        if (s.op == SPLIT) {
            stack[depth].pc = s.y;
            stack[depth++].slot = NONE;
            stack[depth].pc = s.x;
            stack[depth++].slot = NONE;
        } else if (s.op == SAVE) {
            stack[depth].pc = slots[s.x];
            stack[depth++].slot = s.x;
            slots[s.x] = at;
            stack[depth].pc = (uint16_t)(pc + 1);
            stack[depth++].slot = NONE;
        } else if (s.op == BEGIN || s.op == END) {
            if (at == (s.op == BEGIN ? 0 : len)) {
                stack[depth].pc = (uint16_t)(pc + 1);
                stack[depth++].slot = NONE;
            }
        } else {
            struct thread *t = &to->all[to->count++];
            t->pc = pc;
            memcpy(t->slots, slots, sizeof t->slots);
        }
    }
}

/* False: the path does not match from its beginning. */
static bool run(const struct program *p, const char *path, size_t len,
                uint16_t found[MAPPED_SLOTS]) {
    struct threads lists[2], *now = &lists[0], *next = &lists[1];
    uint8_t seen[MAPPED_STEPS] = {0};
    uint16_t none[MAPPED_SLOTS] = {0};
    bool matched = false;
    now->count = 0;
    add(p, now, seen, 0, none, 0, len);
    for (size_t at = 0; now->count; at++) {
        next->count = 0;
        memset(seen, 0, sizeof seen);
        for (uint16_t i = 0; i < now->count; i++) {
            struct thread *t = &now->all[i];
            struct step s = step_at(p, t->pc);
            if (s.op == MATCH) {
                memcpy(found, t->slots, sizeof t->slots);
                matched = true;
                break; /* the others count less */
            }
            uint8_t octet = at < len ? (uint8_t)path[at] : 0;
            if (at < len && p->sets[SET * s.x + octet / 8] >> octet % 8 & 1)
                add(p, next, seen, (uint16_t)(t->pc + 1), t->slots, (uint16_t)(at + 1), len);
        }
        struct threads *other = now;
        now = next;
        next = other;
    }
    return matched;
}

/* --- what becomes of it --------------------------------------------------------------------------------------------------------- */

static bool put(char *out, size_t room, size_t *n, const void *text, size_t len) {
    if (len >= room - *n)
        return false;
    memcpy(out + *n, text, len);
    *n += len;
    return true;
}

static long finish(char *out, size_t n) {
    if (n == 0)
        out[n++] = '/';
    out[n] = '\0';
    return (long)n;
}

static long rewritten(const struct program *p, const uint16_t slots[MAPPED_SLOTS], const char *path,
                      size_t len, char *out, size_t room) {
    size_t n = 0;
    for (size_t at = 0; at < p->parts_len;) {
        uint16_t group = rules_u16(p->parts + at), text = rules_u16(p->parts + at + 2);
        const uint16_t *ends = &slots[2 * group];
        size_t kept = ends[1] > ends[0] ? (size_t)(ends[1] - ends[0]) : 0;
        bool whole = group ? put(out, room, &n, path + ends[0], kept)
                           : put(out, room, &n, p->parts + at + 4, text);
        if (!whole)
            return -1;
        at += 4u + text;
    }
    return put(out, room, &n, path + slots[1], len - slots[1]) ? finish(out, n) : -1;
}

/* Of folders the first that holds it; 0: none. */
static long by_folder(const struct rules *r, const char *path, size_t len, char *out, size_t room) {
    const uint8_t *p = r->mappings;
    for (uint32_t i = 0; i < r->mapping_count; i++) {
        uint16_t from = rules_u16(p);
        const uint8_t *to = p + 2 + from;
        uint16_t n = rules_u16(to);
        size_t cut = from == 1 ? 0 : from, made = 0;
        if (rules_holds(p + 2, from, path, len))
            return put(out, room, &made, to + 2, n == 1 ? 0 : n) &&
                           put(out, room, &made, path + cut, len - cut)
                       ? finish(out, made)
                       : -1;
        p = to + 2 + n;
    }
    return 0;
}

long mapped_path(const struct rules *r, const char *path, size_t len, char *out, size_t room) {
    if (r->mode == 0)
        return 0;
    long n = by_folder(r, path, len, out, room);
    const uint8_t *at = r->programs;
    for (uint32_t i = 0; n == 0 && i < r->program_count; i++) {
        struct program p = program_at(at);
        uint16_t slots[MAPPED_SLOTS];
        if (len < NONE && run(&p, path, len, slots))
            n = rewritten(&p, slots, path, len, out, room);
        at += length(&p);
    }
    return n;
}
