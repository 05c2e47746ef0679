/* Whether what a client on the node has said first is one of the target's own probes. Pure: octets in, a verdict out.
 *
 * Clients of a NodePort come from the node's address too, so the address alone says nothing. HTTP: the probe's path and the
 * kubelet's `User-Agent: kube-probe/…`. gRPC: grpc.health.v1.Health and that agent. A client may wait for the server's
 * SETTINGS before it says what it wants, and the kubelet's own does so: then each of its requests is looked at. TLS at a port
 * with a probe is taken for one. */
#pragma once

#include "agent/gate/want.h"

#define PROBE_PEEK 4096 /* octets that are looked at; a probe's head has a few hundred */

enum probe_verdict {
    PROBE_NO,
    PROBE_YES,
    PROBE_MORE,
    PROBE_WAITS /* of HTTP/2, for the server */
};

bool probe_expected(const struct want *w, uint16_t port); /* there is one at this port at all */
/* Of the first `n` octets, at least one. */
enum probe_verdict probe_judge(const struct want *w, uint16_t port, const uint8_t *p, size_t n);
/* Whether a request of HTTP/2 is gRPC's health check by the kubelet. */
bool probe_is_health_check(const char *path, size_t path_n, const char *agent, size_t agent_n);
