"""The environment that a pod's spec gives a container, resolved with the caller's own rights.

For when the process's own cannot be read: one that sets its title writes over it. What the entrypoint exported is not
in it, nor what the image sets; config maps and secrets are read as they are now. Values are never logged.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any

from runner.kube import names, service_links
from runner.kube.api import Cluster
from runner.kube.errors import KubeError
from runner.kube.expansion import expanded
from runner.kube.pod import container_spec
from runner.kube.quantity import divided
from wire.record import record

Json = dict[str, Any]

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
_NAME = re.compile(r"[^=\0]+")


@record
class SpecEnviron:
    """``variables`` are b"NAME=value", as /proc/PID/environ has them; ``unread`` says by name what is missing of it,
    one sentence for each."""

    variables: tuple[bytes, ...] = field(repr=False)
    unread: tuple[str, ...] = ()


async def environment(cluster: Cluster, pod: Json, container: str) -> SpecEnviron:
    """Of that container of the pod (as the API server has it). KubeError only if the server cannot be reached."""
    spec = container_spec(pod["spec"], container)
    sources = _Sources(cluster, pod["metadata"]["namespace"])
    await sources.fetch(pod, spec)
    found: dict[str, str] = {}
    for one in spec.get("envFrom") or ():
        found |= sources.all_of(one)
    for one in spec.get("env") or ():
        value = one.get("value") or ""
        if value:
            found[one["name"]] = expanded(value, sources.links | found)
        elif source := one.get("valueFrom"):
            told = sources.one_of(pod, spec, one["name"], source)
            if told is not None:
                found[one["name"]] = told
        else:
            found[one["name"]] = ""
    whole = {"HOSTNAME": hostname(pod)} | sources.links | found
    variables = tuple(f"{name}={value}".encode(errors="surrogateescape") for name, value in whole.items())
    return SpecEnviron(variables, tuple(dict.fromkeys(sources.unread)))


def hostname(pod: Json) -> str:
    """Of its containers (Pod.spec.hostname and setHostnameAsFQDN aside, the name, cut to what Linux takes)."""
    spec = pod.get("spec") or {}
    return str(spec.get("hostnameOverride") or spec.get("hostname") or pod["metadata"]["name"])[:63].rstrip(
        "-."
    )


class _Sources:
    """What the spec refers to, fetched at once, each thing once."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._read: dict[str, Json | None] = {}
        self._refused: dict[str, str] = {}
        self._node: Json | None = None
        self.links: dict[str, str] = {}
        self.unread: list[str] = []

    async def fetch(self, pod: Json, spec: Json) -> None:
        wanted = {f"{kind}/{name}" for kind, name in _references(spec)}
        await asyncio.gather(
            *(
                self._get(one, self._cluster.get(f"/api/v1/namespaces/{self._namespace}/{one}"))
                for one in wanted
            ),
            self._services(pod),
            self._allocatable(pod, spec),
        )

    async def _get(self, key: str, answer: Awaitable[Json]) -> Json | None:
        """None where it is missing or may not be read; the latter is kept as a word for it."""
        self._read[key] = None
        try:
            self._read[key] = await answer
        except KubeError as error:
            if not (error.missing or error.forbidden):
                raise
            self._refused[key] = "you may not read it" if error.forbidden else "there is none"
        return self._read[key]

    async def _services(self, pod: Json) -> None:
        links = pod["spec"].get("enableServiceLinks", True) is not False
        found: list[Json] = []
        try:
            if links:
                found, _ = await self._cluster.list(names.SERVICE.path(self._namespace))
        except KubeError as error:
            if not error.forbidden:
                raise
            self.unread.append(
                f"services of {self._namespace} (*_SERVICE_HOST and the like): you may not list them"
            )
        if not any(_is_master(one) for one in found):
            # A developer may seldom read it, and it is always the same to all.
            if master := await self._get(
                "services/kubernetes", self._cluster.get("/api/v1/namespaces/default/services/kubernetes")
            ):
                found.append(master)
            else:
                self.unread.append(
                    f"service kubernetes (KUBERNETES_SERVICE_HOST …): {self._refused['services/kubernetes']}"
                )
        self.links = service_links.variables(found, self._namespace, links=links)

    async def _allocatable(self, pod: Json, spec: Json) -> None:
        """A limit that is not set is what the node has to give."""
        resources = [
            str(one["valueFrom"]["resourceFieldRef"].get("resource"))
            for one in spec.get("env") or ()
            if "resourceFieldRef" in (one.get("valueFrom") or {})
        ]
        if any(one.startswith("limits.") for one in resources):
            self._node = await self._get(
                "node", self._cluster.get(f"/api/v1/nodes/{pod['spec'].get('nodeName')}")
            )

    # --- values -----------------------------------------------------------------------------------------------------

    def all_of(self, source: Json) -> dict[str, str]:
        """Of one entry of envFrom."""
        kind, reference = next(
            (kind, source[key])
            for key, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets"))
            if key in source
        )
        body = self._of(kind, reference, "all its variables")
        prefix = source.get("prefix") or ""
        pairs = {f"{prefix}{key}": value for key, value in _data(kind, body).items()}
        return {name: value for name, value in pairs.items() if _NAME.fullmatch(name)}

    def one_of(self, pod: Json, spec: Json, name: str, source: Json) -> str | None:
        """Of one variable; None: it is not set, or could not be read, which is noted."""
        match source:
            case {"configMapKeyRef": reference}:
                return self._key("configmaps", reference, name)
            case {"secretKeyRef": reference}:
                return self._key("secrets", reference, name)
            case {"fieldRef": {"fieldPath": path}}:
                told = _field(pod, str(path))
                if told is None:
                    self.unread.append(f"field {path} ({name}): it is not known here")
                return told
            case {"resourceFieldRef": reference}:
                return self._resource(pod, spec, reference, name)
            case _:
                self.unread.append(f"{name}: its source ({', '.join(source)}) is not known here")
                return None

    def _key(self, kind: str, reference: Json, name: str) -> str | None:
        key = str(reference["key"])
        body = self._of(kind, reference, name)
        data = _data(kind, body)
        if body is not None and key not in data and not reference.get("optional"):
            self.unread.append(f"{kind[:-1]} {reference.get('name')} ({name}): it has no key {key}")
        return data.get(key)

    def _of(self, kind: str, reference: Json, what_for: str) -> Json | None:
        name = reference.get("name", "")
        body = self._read.get(f"{kind}/{name}")
        why = self._refused.get(f"{kind}/{name}", "")
        if body is None and not (reference.get("optional") and why == "there is none"):
            self.unread.append(f"{kind[:-1]} {name} ({what_for}): {why}")
        return body

    def _resource(self, pod: Json, spec: Json, reference: Json, name: str) -> str | None:
        whose = reference.get("containerName")
        about = container_spec(pod["spec"], whose) if whose else spec
        group, _, resource = str(reference["resource"]).partition(".")
        value = ((about.get("resources") or {}).get(group) or {}).get(resource)
        if value is None and group == "requests":
            value = "0"
        if value is None and self._node:
            value = ((self._node.get("status") or {}).get("allocatable") or {}).get(resource, "0")
        if value is None:
            why = self._refused.get("node", "it has none yet")
            self.unread.append(f"{reference['resource']} ({name}): not set, so it is the node's, and {why}")
            return None
        return divided(str(value), str(reference.get("divisor") or "1"), cpu=resource == "cpu")


def _references(spec: Json) -> set[tuple[str, str]]:
    found = set()
    for one in spec.get("envFrom") or ():
        for key, kind in (("configMapRef", "configmaps"), ("secretRef", "secrets")):
            if key in one:
                found.add((kind, str(one[key].get("name", ""))))
    for one in spec.get("env") or ():
        for key, kind in (("configMapKeyRef", "configmaps"), ("secretKeyRef", "secrets")):
            if reference := (one.get("valueFrom") or {}).get(key):
                found.add((kind, str(reference.get("name", ""))))
    return found


def _data(kind: str, body: Json | None) -> Mapping[str, str]:
    if body is None:
        return {}
    data = body.get("data") or {}
    return {key: _decoded(value) for key, value in data.items()} if kind == "secrets" else data


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode(errors="surrogateescape")


def _is_master(service: Json) -> bool:
    return (service["metadata"]["namespace"], service["metadata"]["name"]) == ("default", "kubernetes")


def _field(pod: Json, path: str) -> str | None:
    """kubernetes.io/docs/concepts/workloads/pods/downward-api, "Available fields"."""
    meta, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    if found := _SUBSCRIPT.fullmatch(path):
        return str((meta.get(found[1]) or {}).get(found[2], ""))
    known: dict[str, Callable[[], Any]] = {
        "metadata.name": lambda: meta["name"],
        "metadata.namespace": lambda: meta["namespace"],
        "metadata.uid": lambda: meta["uid"],
        "spec.nodeName": lambda: spec.get("nodeName", ""),
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName", ""),
        "status.hostIP": lambda: status.get("hostIP", ""),
        "status.hostIPs": lambda: ",".join(one["ip"] for one in status.get("hostIPs") or ()),
        "status.podIP": lambda: status.get("podIP", ""),
        "status.podIPs": lambda: ",".join(one["ip"] for one in status.get("podIPs") or ()),
    }
    return str(known[path]()) if path in known else None
