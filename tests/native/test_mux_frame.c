/* The octets of data frames: those of the golden file, both ways, and what is refused. */
#include "check.h"
#include "fault.h"
#include "mux_frame.h"
#include "span.h"

#include <errno.h>

static uint8_t octets[MUX_FRAME_MAX + FRAME_LENGTH];

static size_t unhex(const char *text) {
    size_t n = 0;
    for (unsigned v; sscanf(text, "%2x", &v) == 1; text += 2)
        octets[n++] = (uint8_t)v;
    return n;
}

/* Writes again what was read; its length. */
static size_t write_again(const struct frame *f, uint8_t *out) {
    size_t head;
    switch (f->tag) {
    case FRAME_OPEN:
        return frame_open(out, f->channel, &f->open);
    case FRAME_OPENED:
    case FRAME_GRANT:
        return frame_number(out, (enum frame_tag)f->tag, f->channel, f->octets);
    case FRAME_RESET:
        return frame_number(out, FRAME_RESET, f->channel, (uint32_t)f->err);
    case FRAME_EOF:
        return frame_eof(out, f->channel);
    case FRAME_ACK:
        return frame_ack(out, f->received);
    case FRAME_UNREACHABLE:
        return frame_unreachable(out, f->channel, &f->peer, f->err);
    case FRAME_DATA:
        head = frame_data(out, f->channel, f->payload_len);
        break;
    case FRAME_DATAGRAM:
        head = frame_datagram(out, f->channel, &f->peer, f->payload_len);
        break;
    default: {
        char text[200];
        snprintf(text, sizeof text, "%.*s", (int)f->payload_len, (const char *)f->payload);
        return frame_goodbye(out, text);
    }
    }
    memcpy(out + head, f->payload, f->payload_len);
    return head + f->payload_len;
}

/* "Name hex" a line; names that are no frame of a data link are the control links' own. */
static void golden(void) {
    static const char *const names[] = {"Goodbye",     "Open", "Opened", "Data",
                                        "Grant",       "Eof",  "Reset",  "Datagram",
                                        "Unreachable", "Ack",  NULL};
    static uint8_t again[MUX_FRAME_MAX + FRAME_LENGTH];
    static char line[256 * 1024];
    const char *path = getenv("GOLDEN");
    FILE *file = fopen(path != NULL ? path : "../wire/golden.txt", "r");
    EXPECT(file != NULL);
    unsigned seen = 0, count = 0;
    while (fgets(line, sizeof line, file) != NULL) {
        char *hex = strchr(line, ' ');
        if (line[0] == '#' || hex == NULL)
            continue;
        *hex++ = '\0';
        for (unsigned i = 0; names[i] != NULL; i++) {
            if (strcmp(line, names[i]) != 0)
                continue;
            size_t n = unhex(hex);
            struct frame f;
            const char *wrong = frame_read(octets + FRAME_LENGTH, n - FRAME_LENGTH, &f);
            if (wrong != NULL)
                fprintf(stderr, "%s: %s\n", line, wrong);
            EXPECT(wrong == NULL);
            EXPECT(write_again(&f, again) == n && memcmp(again, octets, n) == 0);
            seen |= 1u << i;
            count++;
        }
    }
    fclose(file);
    EXPECT(seen == 0x3ff && count >= 15);
}

static const char *read_hex(const char *text, struct frame *f) {
    size_t n = unhex(text);
    return frame_read(octets, n, f);
}

static void refused(void) {
    struct frame f;
    static const struct {
        const char *hex, *why;
    } bad[] = {
        {"", "no array"},
        {"90", "no array"},
        {"c0", "no array"},
        {"91", "without a tag"},
        {"91c0", "without a tag"},
        {"923f01", "unknown kind"},
        {"924901", "unknown kind"},
        {"9148", "acknowledgement"},
        {"9248a0", "acknowledgement"},
        {"92480100", "acknowledgement"}, /* an octet behind it */
        {"9101", "unknown kind"},        /* Hello: not on a link that both gave to C */
        {"9203c0", "goodbye"},
        {"9144", "too few"},
        {"924201", "too few"},
        {"934201a0", "malformed"},       /* str for bin */
        {"934201c40161ff", "malformed"}, /* an octet behind it */
        {"934201c402ff", "malformed"},   /* one octet too few */
        {"93c04201", "without a tag"},
        {"9342c0c400", "malformed"},
        {"934501cd1000", "malformed"},                   /* errno 4096 */
        {"934301cf0000000100000000", "malformed"},       /* a window beyond 32 bits */
        {"954701c40501020304053571", "malformed"},       /* an address of 5 octets */
        {"954701c4047f000001ce0001000071", "malformed"}, /* port 65,536 */
        {"934401c1", "malformed"}, /* a type that does not exist, where a field is skipped */
        {"9344019191919191919191919191", "malformed"}, /* nested too deep */
        {"dd7fffffff4401", "malformed"},               /* two thousand million fields */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *wrong = read_hex(bad[i].hex, &f);
        if (wrong == NULL || strstr(wrong, bad[i].why) == NULL)
            fprintf(stderr, "%s: %s\n", bad[i].hex, wrong != NULL ? wrong : "taken");
        EXPECT(wrong != NULL && strstr(wrong, bad[i].why) != NULL);
    }
}

/* Fields that a newer peer adds at the end, of every type there is. */
static void trailing_fields(void) {
    struct frame f;
    EXPECT(read_hex("dc0010"
                    "44"
                    "05"
                    "c0c2c3" /* nil, false, true */
                    "ff"
                    "d0ff"               /* -1 */
                    "cb4000000000000000" /* 2.0 */
                    "a161"
                    "d90161" /* "a" */
                    "c40161"
                    "81a16101"
                    "92019102" /* bin, map, nested array */
                    "d4017f"
                    "c7020101ff" /* extensions */
                    "cfffffffffffffffff",
                    &f) == NULL);
    EXPECT(f.tag == FRAME_EOF && f.channel == 5);
    EXPECT(read_hex("9445056801", &f) == NULL && f.err == 104);
    EXPECT(read_hex("944805c0a161", &f) == NULL && f.tag == FRAME_ACK && f.received == 5);
}

/* A payload of the largest size, and one more. */
static void largest(void) {
    struct frame f;
    for (size_t n = MUX_FRAME_DATA; n <= MUX_FRAME_DATA + 1; n++) {
        static uint8_t frame[MUX_FRAME_MAX + FRAME_LENGTH];
        size_t head = frame_data(frame, UINT32_MAX, n);
        const char *wrong = frame_read(frame + FRAME_LENGTH, head - FRAME_LENGTH + n, &f);
        EXPECT((wrong == NULL) == (n == MUX_FRAME_DATA));
        struct endpoint peer = {.addr = addr_v6("0123456789abcdef"), .port = 65535};
        head = frame_datagram(frame, UINT32_MAX, &peer, n);
        EXPECT(n > MUX_FRAME_DATA || head - FRAME_LENGTH + n <= MUX_FRAME_MAX);
        wrong = frame_read(frame + FRAME_LENGTH, head - FRAME_LENGTH + n, &f);
        EXPECT((wrong == NULL) == (n == MUX_FRAME_DATA));
    }
    uint8_t head[FRAME_HEAD];
    struct endpoint e = {.addr = addr_v6("0123456789abcdef"), .port = 65535};
    struct channel_open o = {CHANNEL_MIRROR_UDP, UINT32_MAX, e, e, UINT32_MAX};
    EXPECT(frame_open(head, UINT32_MAX, &o) == 64);
}

static const struct test tests[] = {TEST(golden), TEST(refused), TEST(trailing_fields),
                                    TEST(largest)};
CHECK_MAIN(tests)
