"""One MirrorSession: made for a run, renewed while it lives, deleted at its end.

Its secret is made here and never leaves this process but to the agents and the bridge; the object has only its hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import secrets
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeAlias

from runner import VERSION
from runner.errors import Refusal
from runner.kube.errors import KubeError
from runner.kube.kinds import API, LEASE_SECONDS, sessions_path
from runner.kube.manifests import NAME, PRODUCT, safe_label
from runner.labels import AUTHOR, MODE, RELEASE, ROLE, SESSION, TARGET
from wire.record import record

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

RENEWED_EVERY = 10.0
"""Seconds; a sixth of the lease, so that five may fail."""

AGAIN = 1.0
"""Seconds between two attempts at what should not have failed."""

LAPSED_AFTER = LEASE_SECONDS - RENEWED_EVERY
"""Seconds since the last renewal after which an object that is gone was collected by an agent: nobody meant its end."""

KEPT = ("labels", "annotations")

REFUSED = "denied request: "
"""What stands before the words of a ValidatingAdmissionPolicy in the API server's message."""


class Objects(Protocol):
    """Of ``runner.kube.api.Cluster``."""

    async def create(self, path: str, body: Json, **query: str) -> Json: ...
    async def patch(self, path: str, body: Json | list[Json], kind: str = "merge", **query: str) -> Json: ...
    async def delete(self, path: str, **query: str) -> Json | None: ...
    def watch(self, path: str, version: str, **query: str) -> AsyncGenerator[tuple[str, Json], None]: ...


@record
class Wanted:
    """What the object says. ``session``: as the run's containers on the engine are labelled. ``workload``: apiVersion,
    kind, name and uid of the target, if it is more than a pod."""

    namespace: str
    author: str
    target: str
    container: str
    mode: str
    rights: tuple[str, ...]
    session: str = ""
    workload: Mapping[str, str] | None = None


@dataclass(slots=True)
class SessionObject:
    """``secret`` proves to an agent that a caller is this session's."""

    namespace: str
    name: str
    secret: bytes = field(repr=False)
    _body: Json = field(repr=False)
    _cluster: Objects = field(repr=False)
    _renewed: Moment = field(repr=False)

    @classmethod
    async def create(cls, cluster: Objects, wanted: Wanted) -> SessionObject:
        """Refusal with the policy's own words when the caller may not."""
        secret = secrets.token_bytes(32)
        body = _body(wanted, secret)
        try:
            made = await cluster.create(sessions_path(wanted.namespace), body)
        except KubeError as error:
            raise _refusal(error, wanted.namespace) from error
        name = made["metadata"]["name"]
        again = body | {
            "metadata": {key: it for key, it in body["metadata"].items() if key in KEPT} | {"name": name}
        }
        return cls(wanted.namespace, name, secret, again, cluster, Moment.now())

    async def keep(self) -> str:
        """Renews the lease until somebody ends the session; then a sentence about that.

        One that lapsed while this machine slept, or had no way to the API server, is made again as it was: agents and
        bridge know it by its name and its secret.
        """
        while True:
            await self._until_gone()
            if self._renewed.ago() < LAPSED_AFTER:
                return (
                    f"the session was ended: mirrorsession {self.namespace}/{self.name} was deleted "
                    f"(`kubectl get events -n {self.namespace}` may say why)"
                )
            try:
                await self._cluster.create(sessions_path(self.namespace), self._body)
                log.info("mirrorsession %s/%s had lapsed, and is made again", self.namespace, self.name)
                self._renewed = Moment.now()
            except KubeError as error:
                if error.forbidden:
                    return f"the session had lapsed: {_refusal(error, self.namespace).what}"
                log.info("mirrorsession %s/%s is not made again yet: %s", self.namespace, self.name, error)
                await asyncio.sleep(AGAIN)

    async def delete(self) -> None:
        """Its end: every agent hears of it within a second. One that cannot be deleted lapses."""
        try:
            await self._cluster.delete(sessions_path(self.namespace, self.name))
        except KubeError as error:
            log.warning("mirrorsession %s/%s lapses by itself: %s", self.namespace, self.name, error)

    async def _until_gone(self) -> None:
        """A renewal finds out within RENEWED_EVERY, a watch at once; who may not watch has the renewals."""
        tasks = [asyncio.create_task(self._renew()), asyncio.create_task(self._watch())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _renew(self) -> None:
        """Until the object is gone. A renewal that fails is tried again."""
        path = sessions_path(self.namespace, self.name, "status")
        while True:
            now = datetime.now(UTC).isoformat(timespec="microseconds")
            try:
                await self._cluster.patch(path, {"status": {"renewTime": now}})
                self._renewed = Moment.now()
            except KubeError as error:
                if error.missing:
                    return
                log.info("the session's lease was not renewed: %s", error)
            await asyncio.sleep(RENEWED_EVERY)

    async def _watch(self) -> None:
        """Until the object is gone."""
        path, only = sessions_path(self.namespace), f"metadata.name={self.name}"
        while True:
            try:
                async with aclosing(self._cluster.watch(path, "", fieldSelector=only)) as changes:
                    async for kind, _ in changes:
                        if kind == "DELETED":
                            return
            except KubeError as error:
                if error.forbidden:
                    await asyncio.get_running_loop().create_future()  # the renewals will find out
                log.info("the watch of the session's object begins anew: %s", error)
            await asyncio.sleep(AGAIN)


@record
class Moment:
    """By two clocks: the monotonic one stands still while a machine sleeps, the other may be set."""

    monotonic: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        return cls(time.monotonic(), time.time())

    def ago(self) -> float:
        """Seconds, by whichever clock says more."""
        return max(time.monotonic() - self.monotonic, time.time() - self.wall)


def _body(wanted: Wanted, secret: bytes) -> Json:
    names = {NAME: PRODUCT, ROLE: "session"} | ({SESSION: wanted.session} if wanted.session else {})
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
            "labels": names | {key: safe_label(text) for key, text in texts.items()},
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
