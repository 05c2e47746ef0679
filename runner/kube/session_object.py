"""One MirrorSession: made for a run, renewed while it lives, deleted at its end.

Its secret is made here and never leaves this process but to the agents and the bridge; the object has only its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from runner import VERSION
from runner.errors import Refusal
from runner.kube.errors import KubeError
from runner.kube.kinds import API, sessions_path
from runner.kube.manifests import MODE, NAME, PRODUCT, safe_label
from runner.labels import AUTHOR, RELEASE, TARGET

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

RENEWED_EVERY = 10.0
"""Seconds; a sixth of the lease, so that five may fail."""

REFUSED = "denied request: "
"""What stands before the words of a ValidatingAdmissionPolicy in the API server's message."""


class Objects(Protocol):
    """Of ``runner.kube.api.Cluster``."""

    async def create(self, path: str, body: Json, **query: str) -> Json: ...
    async def patch(self, path: str, body: Json | list[Json], kind: str = "merge", **query: str) -> Json: ...
    async def delete(self, path: str, **query: str) -> Json | None: ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the object says. ``workload``: apiVersion, kind, name and uid of the target, if it is more than a pod."""

    namespace: str
    author: str
    target: str
    container: str
    mode: str
    rights: tuple[str, ...]
    workload: Mapping[str, str] | None = None


@dataclass(slots=True)
class SessionObject:
    """``secret`` proves to an agent that a caller is this session's."""

    namespace: str
    name: str
    uid: str
    secret: bytes = field(repr=False)
    _cluster: Objects = field(repr=False)

    @classmethod
    async def create(cls, cluster: Objects, wanted: Wanted) -> SessionObject:
        """Refusal with the policy's own words when the caller may not."""
        secret = secrets.token_bytes(32)
        try:
            made = await cluster.create(sessions_path(wanted.namespace), _body(wanted, secret))
        except KubeError as error:
            raise _refusal(error, wanted.namespace) from error
        metadata = made["metadata"]
        return cls(wanted.namespace, metadata["name"], metadata["uid"], secret, cluster)

    async def keep(self) -> str:
        """Renews the lease until the object is gone; then a sentence about that. One that fails is tried again."""
        while True:
            try:
                await self._renew()
            except KubeError as error:
                if error.missing:
                    return (
                        f"the session was ended: somebody deleted mirrorsession {self.namespace}/{self.name}"
                    )
                log.warning("the session's lease was not renewed: %s", error)
            await asyncio.sleep(RENEWED_EVERY)

    async def delete(self) -> None:
        """Its end: every agent hears of it within a second. One that cannot be deleted lapses."""
        try:
            await self._cluster.delete(sessions_path(self.namespace, self.name))
        except KubeError as error:
            log.warning("mirrorsession %s/%s lapses by itself: %s", self.namespace, self.name, error)

    async def _renew(self) -> None:
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        await self._cluster.patch(
            sessions_path(self.namespace, self.name, "status"), {"status": {"renewTime": now}}
        )


def _body(wanted: Wanted, secret: bytes) -> Json:
    texts = {AUTHOR: wanted.author, TARGET: wanted.target, MODE: wanted.mode, RELEASE: VERSION}
    spec: Json = {
        "author": wanted.author,
        "target": wanted.target,
        "container": wanted.container,
        "mode": wanted.mode,
        "rights": list(wanted.rights),
        "secretHash": hashlib.sha256(secret).hexdigest(),
        "version": VERSION,
    }
    if wanted.workload is not None:
        spec["workload"] = dict(wanted.workload)
    return {
        "apiVersion": API,
        "kind": "MirrorSession",
        "metadata": {
            "generateName": _prefix(wanted.target),
            "labels": {NAME: PRODUCT} | {key: safe_label(text) for key, text in texts.items()},
            "annotations": texts,
        },
        "spec": spec,
    }


def _prefix(target: str) -> str:
    """ "deploy/cart" becomes "cart-": the API server adds five characters. A name is a DNS-1123 subdomain; ours has no
    dots."""
    name = re.sub(r"[^a-z0-9]+", "-", target.rpartition("/")[2].lower()).strip("-")[:40].strip("-")
    return f"{name or 'session'}-"


def _refusal(error: KubeError, namespace: str) -> Refusal:
    if not error.forbidden and error.status != 422:
        return error.refusal()
    _, denied, words = error.sentence.partition(REFUSED)
    if not denied:
        return error.refusal()
    return Refusal(
        words,
        f"what you may do in {namespace} is for those who run the cluster to say (ClusterRoles mirror-run-…)",
    )
