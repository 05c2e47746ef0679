"""The probes that the kubelet makes of a pod, as its spec has them: they stay with it while its ports are stolen.

Pure. Fields are the Kubernetes API's (reference: core/v1 Container, Probe). Exec probes come over no port.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wire.messages import Probe

Json = dict[str, Any]

HTTP, TCP, GRPC = 0, 1, 2

KINDS = ("startupProbe", "readinessProbe", "livenessProbe")


def of_spec(spec: Json) -> tuple[Probe, ...]:
    """Of all containers of this pod's spec: they share its ports."""
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    return tuple(dict.fromkeys(probe for container in containers for probe in _of_container(container)))


def _of_container(container: Json) -> Iterator[Probe]:
    named = {port["name"]: port["containerPort"] for port in container.get("ports") or () if port.get("name")}

    def number(port: int | str) -> int:
        found = named.get(port, port)
        return found if isinstance(found, int) else int(found) if str(found).isdigit() else 0

    for kind in KINDS:
        probe = container.get(kind) or {}
        if http := probe.get("httpGet"):
            yield Probe(number(http.get("port", 0)), HTTP, http.get("path") or "/")
        if tcp := probe.get("tcpSocket"):
            yield Probe(number(tcp.get("port", 0)), TCP)
        if grpc := probe.get("grpc"):
            yield Probe(number(grpc.get("port", 0)), GRPC, grpc.get("service") or "")
