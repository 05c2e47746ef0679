"""Whether a MirrorSession, as the API server has it, lets its secret's holder in, and what to do there. Sans-io.

Objects come in as the API server's JSON. Nothing of the object counts unless the admission policy judged it: so both
policy objects must be there, be the ones this agent was installed with, and have been in force for a while when the
session was made.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from agent.warrants import Limits

Json: TypeAlias = Mapping[str, Any]

SETTLED = 10.0
"""Seconds between the last change of the policy and the first session that counts: API servers hear of it late."""

LEASE = 60.0
"""Seconds without a change of ``status.renewTime`` after which a session has lapsed."""

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?")
"""Kubernetes, "Object Names and IDs": what is neither must not become part of a path."""


class Denied(Exception):
    """``args[0]`` is the sentence for the caller."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A session that was judged: its object's identity, and what it may do."""

    namespace: str
    name: str
    uid: str
    version: str  # resourceVersion, to watch from
    author: str
    target: str
    mode: str
    rights: frozenset[str]
    created: datetime
    renewed: str  # the lease as it was read
    seconds: int  # that it may last; 0: as long as it likes
    limits: Limits
    workload: tuple[str, str, str, str] | None = None  # apiVersion, kind, name, uid


def path_of(namespace: str, name: str) -> str:
    """Of a MirrorSession. Denied unless both are names."""
    if not _LABEL.fullmatch(namespace) or not _SUBDOMAIN.fullmatch(name):
        raise Denied(f"a session here is a MirrorSession, and {namespace!r}/{name!r} cannot be one")
    return f"/apis/mirror-run.dev/v1alpha1/namespaces/{namespace}/mirrorsessions/{name}"


def pod_path(namespace: str, name: str) -> str:
    """Of a pod in the namespace of a session's object. Denied unless ``name`` is a name."""
    if not _SUBDOMAIN.fullmatch(name):
        raise Denied(f"{name!r} cannot be the name of a pod")
    return f"/api/v1/namespaces/{namespace}/pods/{name}"


def proves(secret: bytes, session: Json | None) -> bool:
    """Whether this is the session's secret; as long for one that is not there."""
    stored = str(((session or {}).get("spec") or {}).get("secretHash") or "")
    return hmac.compare_digest(hashlib.sha256(secret).hexdigest().encode(), stored.encode())


def judge(
    session: Json | None,
    policy: Json | None,
    binding: Json | None,
    parameters: Json | None,
    expected: str,
) -> Judged:
    """``expected``: the hash of both policy objects' specs. Denied if the session does not count."""
    if session is None:
        raise Denied("the session's object is gone")
    metadata = session["metadata"]
    name = f"MirrorSession {metadata['namespace']}/{metadata['name']}"
    if metadata.get("deletionTimestamp"):
        raise Denied(f"{name} is being deleted")
    since = in_force_since(policy, binding, expected)
    created = _time(metadata["creationTimestamp"])
    if (created - since).total_seconds() < SETTLED:
        raise Denied(
            f"{name} was made before the admission policy had been in force for {SETTLED:g} s (since "
            f"{since:%Y-%m-%d %H:%M:%S} UTC), so nobody judged it: run again"
        )
    spec = session["spec"]
    seconds, limits = limits_of(parameters)
    return Judged(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        author=spec["author"],
        target=spec["target"],
        mode=spec["mode"],
        rights=frozenset(spec["rights"]),
        created=created,
        renewed=renewed_at(session),
        seconds=seconds,
        limits=limits,
        workload=_workload(spec.get("workload")),
    )


def in_force_since(policy: Json | None, binding: Json | None, expected: str) -> datetime:
    """When either last changed. Denied unless both are there and as expected."""
    if policy is None or binding is None:
        what = "ValidatingAdmissionPolicy" + ("" if policy is None else "Binding")
        raise Denied(
            f"the cluster's {what} mirror-run-sessions is missing, so nobody judges sessions: its administrator "
            "puts it back (mirror-run upgrade)"
        )
    specs = [policy.get("spec"), binding.get("spec")]
    found = hashlib.sha256(json.dumps(specs, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    if found != expected:
        raise Denied(
            "the cluster's ValidatingAdmissionPolicy mirror-run-sessions or its binding is not the one these agents "
            "were installed with: its administrator puts it right (mirror-run upgrade)"
        )
    return max(_changed(policy), _changed(binding))


def limits_of(parameters: Json | None) -> tuple[int, Limits]:
    """MirrorPolicy's: seconds that a session may last (0: no limit), and the rest. Denied when there is
    none: then the admission policy denies too."""
    if parameters is None:
        raise Denied(
            "the cluster's mirrorpolicy default is missing: its administrator puts it back (mirror-run upgrade)"
        )
    spec = parameters["spec"]
    return int(spec.get("longestSessionSeconds") or 0), Limits(
        connections=int(spec.get("connections") or 0),
        bytes_per_second=int(spec.get("bytesPerSecond") or 0),
        metadata_addresses=bool(spec.get("metadataAddresses")),
    )


def container_of(pod: Json | None, namespace: str, name: str, node: str, container: str) -> str:
    """The name of the pod's container whose id this is. Denied unless the pod is on this node and has it."""
    where = f"pod {namespace}/{name}"
    if pod is None:
        raise Denied(f"{where} does not exist")
    if pod["spec"].get("nodeName") != node:
        raise Denied(f"{where} is not on node {node}")
    if pod["spec"].get("hostNetwork"):
        raise Denied(f"{where} shares its node's network: it has none of its own to take part in")
    for one in _containers(pod.get("status") or {}):
        if str(one.get("containerID", "")).rpartition("/")[2] == container:
            return str(one["name"])
    raise Denied(f"{where} has no container {container[:12]}")


class Lapses:
    """Which leases have lapsed, judged by this machine's clock alone: a lease that did not change for LEASE seconds.

    Told all objects every now and then; clocks of other machines do not count.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, float]] = {}

    def lapsed(self, sessions: Iterable[Json], now: float) -> list[Json]:
        """Of these, which are all there are."""
        sessions = list(sessions)
        there = {one["metadata"]["uid"] for one in sessions}
        for uid in self._seen.keys() - there:
            del self._seen[uid]
        return [one for one in sessions if self._since(one, now) >= LEASE]

    def _since(self, session: Json, now: float) -> float:
        uid, renewed = session["metadata"]["uid"], renewed_at(session)
        before = self._seen.get(uid)
        if before is None or before[0] != renewed:
            self._seen[uid] = (renewed, now)
            return 0.0
        return now - before[1]


def renewed_at(session: Json) -> str:
    """The lease as text: only whether it changed counts."""
    return str((session.get("status") or {}).get("renewTime") or "")


def _changed(one: Json) -> datetime:
    """The last change of anything but its status (meta/v1 ManagedFieldsEntry)."""
    metadata = one["metadata"]
    times = [
        entry["time"]
        for entry in metadata.get("managedFields") or ()
        if entry.get("time") and not entry.get("subresource")
    ]
    return max(map(_time, [metadata["creationTimestamp"], *times]))


def _time(text: str) -> datetime:
    """meta/v1 Time: RFC 3339 in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def _containers(status: Json) -> list[Json]:
    kinds = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
    return [one for kind in kinds for one in status.get(kind) or ()]


def _workload(said: Json | None) -> tuple[str, str, str, str] | None:
    if not said or not all(said.get(key) for key in ("apiVersion", "kind", "name", "uid")):
        return None
    return str(said["apiVersion"]), str(said["kind"]), str(said["name"]), str(said["uid"])
