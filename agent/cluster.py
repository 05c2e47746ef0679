"""The warrants of an agent that serves a cluster: each is a MirrorSession, read from the API server when it is founded,
watched while it lives.

``warrant_core`` decides; here is what asks the API server and waits. While there is no session nothing is asked but one
list a minute: sessions whose runner is gone without a word are deleted, by whichever agent sees it first.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, TypeAlias

from agent import warrant_core
from agent.api_server import ApiFault, ApiServer, Talk
from agent.cluster_words import Word, Words
from agent.warrant_core import Denied, Judged, Lapses
from agent.warrants import NotAllowed, Refused, Unproved, Warrant
from wire.messages import Counters, Hello

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

API = "/apis/mirror-run.dev/v1alpha1"
PARAMETERS = f"{API}/mirrorpolicies/default"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
POLICY = f"{ADMISSION}/validatingadmissionpolicies/mirror-run-sessions"
BINDING = f"{ADMISSION}/validatingadmissionpolicybindings/mirror-run-sessions"

ASKING = 8
"""Sessions looked up at a time: whoever may forward a port here can make us ask, and must not make us flood."""

SWEEPS_EVERY = 60.0
"""Seconds between two looks for lapsed sessions, a tenth more or less so that agents do not ask together."""

AGAIN = 1.0
"""Seconds until a watch that broke is begun anew."""

PAGE = "500"


class ClusterWarrants:
    """``node``: the name of the node this agent is on. ``expected``: the hash of the admission policy's specs."""

    def __init__(self, api: ApiServer, node: str, expected: str) -> None:
        self._api = api
        self._node = node
        self._expected = expected
        self._asking = asyncio.Semaphore(ASKING)
        self._words = Words(api, node)

    async def warrant(self, hello: Hello) -> Warrant:
        """Unproved, and Refused with a sentence."""
        try:
            path = warrant_core.path_of(hello.namespace, hello.session)
            async with self._asking, self._api.talk() as talk:
                session = await talk.get(path)
                if not warrant_core.proves(hello.secret, session):
                    raise Unproved
                judged = warrant_core.judge(
                    session,
                    await talk.get(POLICY),
                    await talk.get(BINDING),
                    await talk.get(PARAMETERS),
                    self._expected,
                )
        except Denied as denied:
            raise Refused(str(denied)) from None
        except ApiFault as fault:
            log.warning("MirrorSession %s/%s: %s", hello.namespace, hello.session, fault)
            raise Refused(f"the agent cannot look the session up: {fault}") from None
        return ClusterWarrant(self._api, self._node, judged, self._words)

    async def tend(self) -> None:
        """Until cancelled: lapsed sessions are deleted."""
        lapses = Lapses()
        while True:
            await asyncio.sleep(SWEEPS_EVERY * random.uniform(0.9, 1.1))
            try:
                async with self._api.talk() as talk:
                    sessions = await _all(talk)
                    for one in lapses.lapsed(sessions, asyncio.get_running_loop().time()):
                        metadata = one["metadata"]
                        log.info("MirrorSession %s/%s has lapsed", metadata["namespace"], metadata["name"])
                        await _delete(talk, one["metadata"])
            except ApiFault as fault:
                log.info("no look for lapsed sessions: %s", fault)


class ClusterWarrant(Warrant):
    """What one MirrorSession allows."""

    def __init__(self, api: ApiServer, node: str, judged: Judged, words: Words) -> None:
        self.namespace = judged.namespace
        self.rights = judged.rights
        self.limits = judged.limits
        self._api = api
        self._node = node
        self._judged = judged
        self._word = Word(words, judged)

    async def may_enter(self, container: str, pod: str) -> None:
        """By what the API server says of that pod, in the namespace of the session's object. NotAllowed."""
        try:
            async with self._api.talk() as talk:
                found = await talk.get(warrant_core.pod_path(self.namespace, pod))
            name = warrant_core.container_of(found, self.namespace, pod, self._node, container)
        except (Denied, ApiFault) as error:
            raise NotAllowed(str(error)) from None
        assert found is not None
        self._word.about(container, found, name)

    async def void(self) -> str:
        """The object was deleted, its lease lapsed, or it has lasted as long as sessions may."""
        loop = asyncio.get_running_loop()
        judged = self._judged
        lease = asyncio.timeout(warrant_core.LEASE)
        try:
            async with asyncio.timeout(judged.seconds or None), lease:
                return await self._deleted(lambda: lease.reschedule(loop.time() + warrant_core.LEASE))
        except TimeoutError:
            reason = (
                f"its lease lapsed: nothing was heard of its runner for {warrant_core.LEASE:g} s"
                if lease.expired()
                else f"sessions may last {judged.seconds} s here (mirrorpolicy default)"
            )
        try:
            async with self._api.talk() as talk:
                await _delete(talk, {"namespace": judged.namespace, "name": judged.name, "uid": judged.uid})
        except ApiFault as fault:
            log.info("MirrorSession %s/%s stays until it lapses: %s", judged.namespace, judged.name, fault)
        return reason

    def entered(self, container: str, pod: str) -> None:  # noqa: ARG002 it is a Warrant
        """An event on the pod and its workload."""
        self._word.entered(container)

    async def ended(self, reason: str, done: Counters) -> None:
        """Events, and one line of JSON."""
        await self._word.ended(reason, done)

    async def _deleted(self, renewed: Any) -> str:
        """Until the object is gone; ``renewed`` is called whenever its lease was."""
        judged = self._judged
        where, name = f"{API}/namespaces/{judged.namespace}/mirrorsessions", judged.name
        gone = f"MirrorSession {judged.namespace}/{name} was deleted"
        version, lease = judged.version, judged.renewed
        while True:
            try:
                async with self._api.talk() as talk:
                    if not version:
                        found = await talk.get(f"{where}/{name}")
                        if found is None or found["metadata"]["uid"] != judged.uid:
                            return gone
                        version = found["metadata"]["resourceVersion"]
                        if warrant_core.renewed_at(found) != lease:
                            lease = warrant_core.renewed_at(found)
                            renewed()
                    async for kind, one in talk.watch(where, version, fieldSelector=f"metadata.name={name}"):
                        version = one["metadata"]["resourceVersion"]
                        if kind == "DELETED" or one["metadata"].get("deletionTimestamp"):
                            return gone
                        if kind == "MODIFIED" and warrant_core.renewed_at(one) != lease:
                            lease = warrant_core.renewed_at(one)
                            renewed()
            except ApiFault as fault:
                log.info("the watch of MirrorSession %s/%s begins anew: %s", judged.namespace, name, fault)
                version = ""
                await asyncio.sleep(AGAIN)


async def _all(talk: Talk) -> list[Json]:
    """Of every namespace, in pages."""
    found: list[Json] = []
    query = {"limit": PAGE}
    while True:
        page = await talk.ask("GET", f"{API}/mirrorsessions", None, query)
        found += page.get("items") or ()
        more = str((page.get("metadata") or {}).get("continue") or "")
        if not more:
            return found
        query = {"limit": PAGE, "continue": more}


async def _delete(talk: Talk, metadata: Json) -> None:
    """This very object; that another agent was quicker, or that it was renewed meanwhile, is fine."""
    same = {key: metadata[key] for key in ("uid", "resourceVersion") if key in metadata}
    path = warrant_core.path_of(metadata["namespace"], metadata["name"])
    try:
        await talk.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": same})
    except ApiFault as fault:
        if not fault.missing and not fault.conflict:
            raise
