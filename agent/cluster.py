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
from agent.account import Account
from agent.api_server import ApiFault, ApiServer, Talk
from agent.cluster_words import Word, Words
from agent.warrant_core import Denied, Judged, Lapses
from agent.warrants import NotAllowed, Refused, Unproved, Warrant
from wire.messages import AppPort, Hello

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
        self.author = judged.author
        self.rights = judged.rights
        self.limits = judged.limits
        self._api = api
        self._node = node
        self._judged = judged
        self._word = Word(words, judged)
        self._version = judged.version
        self._lease = judged.renewed

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
        try:
            async with asyncio.timeout(self._judged.seconds or None):
                return await self._held()
        except TimeoutError:
            await self._delete({})
            return f"sessions may last {self._judged.seconds} s here (mirrorpolicy default)"

    def entered(self, container: str, pod: str) -> None:  # noqa: ARG002 it is a Warrant
        """An event on the pod and its workload, once its ports are known or none came."""
        self._word.entered(container)

    def left(self, container: str, pod: str) -> None:  # noqa: ARG002 it is a Warrant
        """The app gets none of its ports any more."""
        self._word.gets(container, (), ())

    def gets(
        self,
        container: str,
        pod: str,  # noqa: ARG002 it is a Warrant
        mirrored: tuple[AppPort, ...],
        stolen: tuple[AppPort, ...],
    ) -> None:
        """An event, if that is another state than the last one that was told, and lasts."""
        self._word.gets(container, mirrored, stolen)

    def drains(self, container: str, yes: bool, within: int) -> None:
        """An event, from which `mirror-run ps` knows it."""
        self._word.drains(container, yes, within)

    async def ended(self, account: Account) -> None:
        """Events, and one line of JSON."""
        await self._word.ended(account)

    async def _held(self) -> str:
        """Until it holds no longer. A lease of which nothing was heard is asked for before it counts as lapsed: it may
        have been the watch that fell silent."""
        while True:
            try:
                async with asyncio.timeout(warrant_core.LEASE) as patience:
                    return await self._deleted(patience)
            except TimeoutError:
                lease = self._lease
            try:
                found = await self._look()
                if found is None:
                    return self._gone
                if self._lease == lease and await self._delete({"resourceVersion": self._version}):
                    return f"its lease lapsed: nothing was heard of its runner for {warrant_core.LEASE:g} s"
            except ApiFault as fault:
                return f"for {warrant_core.LEASE:g} s it could not be asked whether the session may go on: {fault}"

    async def _deleted(self, patience: asyncio.Timeout) -> str:
        """Until the object is gone; whenever its lease is renewed, ``patience`` begins anew."""
        where, only = (
            f"{API}/namespaces/{self.namespace}/mirrorsessions",
            f"metadata.name={self._judged.name}",
        )
        while True:
            try:
                if not self._version and await self._look(patience) is None:
                    return self._gone
                async with self._api.talk() as talk:
                    async for kind, one in talk.watch(where, self._version, fieldSelector=only):
                        if kind == "DELETED" or one["metadata"].get("deletionTimestamp"):
                            return self._gone
                        self._see(one, patience)
            except ApiFault as fault:
                log.info("the watch of %s begins anew: %s", self._name, fault)
                self._version = ""
                await asyncio.sleep(AGAIN)

    async def _look(self, patience: asyncio.Timeout | None = None) -> Json | None:
        """The object as it is now; None if it is gone, or another has its name. ApiFault."""
        async with self._api.talk() as talk:
            found = await talk.get(warrant_core.path_of(self.namespace, self._judged.name))
        if found is None or found["metadata"]["uid"] != self._judged.uid:
            return None
        self._see(found, patience)
        return found

    def _see(self, found: Json, patience: asyncio.Timeout | None) -> None:
        self._version = found["metadata"]["resourceVersion"]
        if (lease := warrant_core.renewed_at(found)) != self._lease:
            self._lease = lease
            if patience is not None:
                patience.reschedule(asyncio.get_running_loop().time() + warrant_core.LEASE)

    async def _delete(self, only: Json) -> bool:
        """Whether it is gone now. ``only``: further preconditions."""
        judged = self._judged
        same = {"namespace": judged.namespace, "name": judged.name, "uid": judged.uid} | only
        try:
            async with self._api.talk() as talk:
                return await _delete(talk, same)
        except ApiFault as fault:
            log.info("%s stays until it lapses: %s", self._name, fault)
            return True

    @property
    def _name(self) -> str:
        return f"MirrorSession {self.namespace}/{self._judged.name}"

    @property
    def _gone(self) -> str:
        return f"{self._name} was deleted"


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


async def _delete(talk: Talk, metadata: Json) -> bool:
    """This very object; False if it is another by now (renewed, say). That another agent was quicker is fine."""
    same = {key: metadata[key] for key in ("uid", "resourceVersion") if key in metadata}
    path = warrant_core.path_of(metadata["namespace"], metadata["name"])
    try:
        await talk.ask("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": same})
    except ApiFault as fault:
        if fault.conflict:
            return False
        if not fault.missing:
            raise
    return True
