"""The variables by which a container finds the services of its namespace, as the kubelet makes them.

kubernetes.io/docs/concepts/services-networking/service, "Environment variables": Docker's links of old, and HOST and
PORT. The service `kubernetes` of the namespace `default` is there always, the others unless the pod declines.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]


def variables(services: Iterable[Json], namespace: str, *, links: bool) -> dict[str, str]:
    """For a pod of that namespace; ``links`` is its enableServiceLinks. Services without an address have none."""
    chosen: dict[str, Json] = {}
    for service in services:
        name, its = service["metadata"]["name"], service["metadata"]["namespace"]
        address = (service.get("spec") or {}).get("clusterIP")
        if address in (None, "", "None"):
            continue
        if its == namespace and links:
            chosen[name] = service
        elif its == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
    found: dict[str, str] = {}
    for name, service in sorted(chosen.items()):
        found |= _of(name.upper().replace("-", "_"), service["spec"])
    return found


def _of(prefix: str, spec: Json) -> dict[str, str]:
    address, ports = spec["clusterIP"], spec.get("ports") or ()
    if not ports:
        return {}
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if name := port.get("name"):
            found[f"{prefix}_SERVICE_PORT_{name.upper().replace('-', '_')}"] = str(port["port"])
    for number, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        host = f"[{address}]" if ":" in address else address
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if number == 0:
            found[f"{prefix}_PORT"] = url
        link = f"{prefix}_PORT_{port['port']}_{protocol.upper()}"
        found |= {
            link: url,
            f"{link}_PROTO": protocol.lower(),
            f"{link}_PORT": str(port["port"]),
            f"{link}_ADDR": address,
        }
    return found
