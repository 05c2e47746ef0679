/* Invariant: whatever packets say, in whatever order, reassembly reads only what it was given, holds no more than its budget
 * and gives it all back; and what is readable never exceeds what was acknowledged and seen.
 *
 * Input: records of 8 octets (who and flags, seq and ack as small offsets, length), payload octets derived from the place in
 * the stream, so that conflicts appear only where the input asks for them.
 * Sources: agent/reassembly.c native/fault.c */
#include "agent/reassembly.h"
#include "native/fault.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct reassembly *r, size_t most) {
    struct iovec iov[2];
    int n = reassembly_peek(r, iov, 2);
    size_t sum = 0;
    for (int i = 0; i < n; i++) {
        volatile uint8_t touch = 0;
        for (size_t k = 0; k < iov[i].iov_len; k++)
            touch ^= ((const uint8_t *)iov[i].iov_base)[k];
        sum += iov[i].iov_len;
    }
    CHECK(sum <= reassembly_readable(r));
    CHECK(sum > 0 || reassembly_readable(r) == 0);
    reassembly_consume(r, sum < most ? sum : most);
}

static void client(struct reassembly *r, uint32_t seq, uint8_t flags, size_t n, bool forged) {
    uint8_t *payload = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        payload[i] = (uint8_t)((seq + i) * 167 + forged);
    struct tcp_view t = {.seq = seq, .flags = flags, .payload = payload, .payload_len = n};
    reassembly_client(r, &t);
    free(payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct reassembly_budget budget = {.limit = 64 * 1024};
    struct reassembly r;
    if (size < 4)
        return 0;
    uint32_t isn;
    memcpy(&isn, data, sizeof isn);
    reassembly_begin(&r, &budget, isn + 1);
    for (const uint8_t *p = data + 4; p + 8 <= data + size; p += 8) {
        uint32_t near = (uint32_t)(p[2] | p[3] << 8);
        uint32_t seq = p[1] & 1 ? isn + near * 65537u : isn + near;
        size_t n = p[1] & 2 ? (size_t)p[4] << 6 : p[4];
        if (p[0] & 128) {
            struct tcp_view t = {.ack = seq, .flags = (p[0] & 4) | TCP_FLAG_ACK};
            reassembly_target(&r, &t);
        } else {
            client(&r, seq, p[0] & 7, n, p[1] & 4);
        }
        CHECK(budget.held == r.held && budget.held <= budget.limit);
        CHECK(r.end == REASSEMBLY_OPEN || r.end == REASSEMBLY_RESET || r.end == REASSEMBLY_EOF ||
              r.held == 0);
        if (p[1] & 8)
            drain(&r, p[5]);
    }
    reassembly_drop(&r);
    CHECK(budget.held == 0);
    return 0;
}
