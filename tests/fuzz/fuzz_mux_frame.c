/* Invariant: whatever the octets, frame_read says either what is wrong or what the frame holds, reads nothing outside, and
 * points nowhere but into the frame; and what it read, written anew, reads the same.
 *
 * Sources: native
 */
#include "native/mux_frame.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(bool holds) {
    if (!holds)
        abort();
}

static size_t write_anew(uint8_t out[FRAME_GOODBYE_MAX], const struct frame *f) {
    switch ((enum frame_tag)f->tag) {
    case FRAME_OPEN:
        return frame_open(out, f->channel, &f->open);
    case FRAME_OPENED:
    case FRAME_GRANT:
        return frame_number(out, (enum frame_tag)f->tag, f->channel, f->octets);
    case FRAME_RESET:
        return frame_number(out, FRAME_RESET, f->channel, (uint32_t)f->err);
    case FRAME_DATA:
        return frame_data(out, f->channel, f->payload_len);
    case FRAME_EOF:
        return frame_eof(out, f->channel);
    case FRAME_DATAGRAM:
        return frame_datagram(out, f->channel, &f->peer, f->payload_len);
    case FRAME_UNREACHABLE:
        return frame_unreachable(out, f->channel, &f->peer, f->err);
    case FRAME_ACK:
        return frame_ack(out, f->received);
    case FRAME_GOODBYE:
        return 0; /* its sentence is bounded when it is written, not when it is read */
    }
    abort(); /* a tag that is none was taken for a frame */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static uint8_t anew[FRAME_GOODBYE_MAX + MUX_FRAME_MAX];
    struct frame first, second;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);
    if (n > MUX_FRAME_MAX || frame_read(p, n, &first))
        return 0;
    if (first.payload_len) {
        check(first.payload >= p && first.payload + first.payload_len <= p + n);
        check(first.payload_len <= MUX_FRAME_DATA);
    }
    size_t head = write_anew(anew, &first);
    if (head == 0)
        return 0;
    check(head <= FRAME_HEAD);
    if (first.payload_len)
        memcpy(anew + head, first.payload, first.payload_len);
    check(frame_read(anew + FRAME_LENGTH, head - FRAME_LENGTH + first.payload_len, &second) ==
          NULL);
    check(second.tag == first.tag && second.channel == first.channel &&
          second.octets == first.octets && second.received == first.received &&
          second.err == first.err && endpoint_equal(&second.peer, &first.peer));
    check(second.payload_len == first.payload_len &&
          (!first.payload_len || memcmp(second.payload, first.payload, first.payload_len) == 0));
    check(second.open.kind == first.open.kind && second.open.window == first.open.window &&
          second.open.target == first.open.target &&
          endpoint_equal(&second.open.source, &first.open.source) &&
          endpoint_equal(&second.open.destination, &first.open.destination));
    return 0;
}
