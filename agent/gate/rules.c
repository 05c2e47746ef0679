/* See rules.h.
 *
 * Priorities are numbers because nft knows the names dstnat and srcnat in one hook each: dstnat is -100 and srcnat 100.
 * Ten after the usual destination NAT: what a mesh or the engine redirects itself comes first, what they leave alone is
 * ours; ahead of a mesh we would be given its ciphertext. Ten before the usual source NAT: nobody masquerades what only goes
 * to the target over lo.
 *
 * A nat chain makes the kernel track connections, and it takes packets of connections that were open before for new ones;
 * so a redirect matches a SYN and nothing else (tests/facts/test_01_open_connections.py).
 *
 * Over lo only a mesh's proxy brings what comes from outside: by its documented user id, or one that was said.
 * Health checks and sidecars come over lo too, and are the target's. */
#include "agent/gate/rules.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct text {
    char *out;
    size_t size, n;
    bool over;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *format, ...) {
    va_list args;
    if (t->over)
        return;
    va_start(args, format);
    int n = vsnprintf(t->out + t->n, t->size - t->n, format, args);
    va_end(args);
    t->over = n < 0 || (size_t)n >= t->size - t->n;
    if (!t->over)
        t->n += (size_t)n;
}

/* What nft's own syntax would end a string at does not get into one. */
static void add_comment(struct text *t, const char *comment) {
    char clean[RULES_COMMENT + 1];
    size_t n = 0;
    for (const char *c = comment; *c && n < RULES_COMMENT; c++)
        if ((unsigned char)*c >= ' ' && *c != '"' && *c != '\\' && *c != 127)
            clean[n++] = *c;
    clean[n] = 0;
    add(t, "    comment \"%s\"\n", clean);
}

#define MESHES "1337, 2102" /* Istio's and Linkerd's proxies */
#define SYN    "tcp flags & (fin | syn | rst | ack) == syn"
#define TAKE   "redirect to :tcp dport map @doors"

static void add_sets(struct text *t) {
    add(t, "    set meshes { type uid; elements = { " MESHES " }; }\n"
           "    set stolen { type inet_service; }\n"
           "    set local { type inet_service; }\n"
           "    map doors { type inet_service : inet_service; }\n"
           "    set behind { type inet_service; }\n"
           "    map " RULES_MAP4 " { type inet_service : ipv4_addr . inet_service; }\n"
           "    map " RULES_MAP6 " { type inet_service : ipv6_addr . inet_service; }\n");
}

static void add_timeout(struct text *t) {
    add(t, "    ct timeout gone {\n"
           "        protocol tcp\n"
           "        policy = { time_wait : 1, close : 1, last_ack : 1 }\n"
           "    }\n");
}

/* `forget`: what makes a connection forgotten soon after its end, or nothing. */
static void add_redirects(struct text *t, const char *forget) {
    add(t,
        "    chain arriving {\n"
        "        type nat hook prerouting priority -90\n"
        "        iifname != \"lo\" " SYN " tcp dport @stolen%s " TAKE "\n"
        "    }\n",
        forget);
    add(t,
        "    chain inside {\n"
        "        type nat hook output priority -90\n"
        "        oifname != \"lo\" return\n"
        "        meta mark 0x%08x return\n"
        "        ip6 daddr ::1 return\n" /* no kernel takes that from an interface, the app's neither */
        "        meta skuid @meshes " SYN " tcp dport @stolen%s " TAKE "\n"
        "        " SYN " tcp dport @local%s " TAKE "\n"
        "    }\n",
        RULES_MARK, forget, forget);
}

static void add_names(struct text *t, const char *forget) {
    add(t,
        "    chain own {\n"
        "        type nat hook postrouting priority 90\n"
        "        oifname != \"lo\" return\n"
        "        meta mark != 0x%08x return\n"
        "        ct mark set 0x%08x%s\n"
        "        meta nfproto ipv4 snat ip to tcp sport map @" RULES_MAP4 "\n"
        "        meta nfproto ipv6 snat ip6 to tcp sport map @" RULES_MAP6 "\n"
        "    }\n",
        RULES_MARK, RULES_MARK, forget);
}

/* Between the end of a gate that was killed and that of its table the doors are shut: a SYN would be answered by RST. That answer is
 * withheld, so the client sends it again, to the target. Whoever had a connection (assured) gets his reset. */
static void add_silence(struct text *t) {
    add(t, "    chain shut {\n"
           "        type filter hook output priority 0\n"
           "        tcp flags & rst == rst tcp sport @behind ct status & assured == 0 drop\n"
           "    }\n");
}

bool rules_table(const char *comment, bool forgets, char *out, size_t size) {
    struct text t = {.out = out, .size = size};
    const char *forget = forgets ? " ct timeout set \"gone\"" : "";
    add(&t, "table inet " RULES_TABLE " {\n");
    add_comment(&t, comment);
    add(&t, "    flags owner\n");
    add_sets(&t);
    if (forgets)
        add_timeout(&t);
    add_redirects(&t, forget);
    add_names(&t, forget);
    add_silence(&t);
    add(&t, "}\n");
    return !t.over;
}

enum set { STOLEN, LOCAL, DOORS, BEHIND };

static void add_set(struct text *t, enum set set, const struct rules_port *p, size_t count) {
    static const char *const names[] = {"stolen", "local", "doors", "behind"};
    size_t n = 0;
    add(t, "flush %s inet " RULES_TABLE " %s\n", set == DOORS ? "map" : "set", names[set]);
    for (size_t i = 0; i < count; i++) {
        if (set == LOCAL && !p[i].local)
            continue;
        if (n++ == 0)
            add(t, "add element inet " RULES_TABLE " %s {", names[set]);
        add(t, "%s %u", n > 1 ? "," : "", set == BEHIND ? p[i].door : p[i].port);
        if (set == DOORS)
            add(t, " : %u", p[i].door);
    }
    if (n)
        add(t, " }\n");
}

bool rules_swap(const struct rules_port *p, size_t count, char *out, size_t size) {
    struct text t = {.out = out, .size = size};
    for (enum set set = STOLEN; set <= BEHIND; set++)
        add_set(&t, set, p, count);
    return !t.over;
}

bool rules_meshes(const uint32_t *uid, size_t count, char *out, size_t size) {
    struct text t = {.out = out, .size = size};
    add(&t, "flush set inet " RULES_TABLE " meshes\n");
    add(&t, "add element inet " RULES_TABLE " meshes { " MESHES);
    for (size_t i = 0; i < count; i++)
        add(&t, ", %u", uid[i]);
    add(&t, " }\n");
    return !t.over;
}

bool rules_comment_of(const char *listed, char *out, size_t size) {
    static const char head[] = "comment \"";
    const char *from = strstr(listed, head);
    if (!from)
        return false;
    from += sizeof head - 1;
    const char *to = strchr(from, '"');
    if (!to || (size_t)(to - from) >= size)
        return false;
    memcpy(out, from, (size_t)(to - from));
    out[to - from] = 0;
    return true;
}
