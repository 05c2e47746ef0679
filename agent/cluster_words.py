"""What the cluster's people are told of a session: events on its pods and their workload, one line of JSON at its end.

Nothing waits for an event, and one that the API server does not take is lost: they are courtesy. The object is the
record while the session lives, the line is afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from agent.api_server import ApiFault, ApiServer
from agent.warrant_core import Judged
from wire.messages import Counters

log = logging.getLogger(__name__)

Json: TypeAlias = dict[str, Any]

COMPONENT = "mirror-run-agent"

PENDING = 64
"""Events on their way at a time; more are dropped."""

LAST_WORDS = 2.0
"""Seconds that the end of a session waits for its events."""


@dataclass(slots=True)
class Words:
    """Of one agent."""

    api: ApiServer
    node: str
    pending: set[asyncio.Task[None]] = field(default_factory=set)

    def tell(self, namespace: str, event: Json) -> None:
        """Now, if fewer than PENDING wait."""
        if len(self.pending) >= PENDING:
            log.info("an event too many: %s", event["message"])
            return
        task = asyncio.create_task(self._send(namespace, event), name="event")
        self.pending.add(task)
        task.add_done_callback(self.pending.discard)

    async def _send(self, namespace: str, event: Json) -> None:
        try:
            await self.api.ask("POST", f"/api/v1/namespaces/{namespace}/events", event)
        except ApiFault as fault:
            if not fault.conflict:  # another node's agent has said it of the same workload
                log.info("no event (%s): %s", event["message"], fault)


@dataclass(slots=True)
class Word:
    """Of one session. ``used``: the rights that it made use of."""

    words: Words
    judged: Judged
    used: set[str] = field(default_factory=set)
    _began: datetime = field(default_factory=lambda: datetime.now(UTC))
    _objects: dict[str, Json] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def about(self, container: str, pod: Json, name: str) -> None:
        """Which pod a container is of, as the API server has it."""
        metadata = pod["metadata"]
        self._objects[container] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "fieldPath": f"spec.containers{{{name}}}",
        }

    def entered(self, container: str) -> None:
        """It begins there."""
        self._say("MirrorSessionBegan", f"{self.judged.author} {self._does()}", [self._objects[container]])

    async def ended(self, reason: str, done: Counters) -> None:
        """It is over, everywhere on this node."""
        seconds = (datetime.now(UTC) - self._began).total_seconds()
        self._record(reason, done, seconds)
        about = [self._objects[container] for container in self._objects]
        counted = f"{done.connections} connections, {done.bytes} bytes mirrored, {seconds:.0f} s"
        self._say("MirrorSessionEnded", f"{self.judged.author} is gone ({counted}): {reason}", about)
        if self.words.pending:
            await asyncio.wait(self.words.pending, timeout=LAST_WORDS)

    def _does(self) -> str:
        verb = {"steal": "steals from"}.get(self.judged.mode, "mirrors")
        others = [right for right in sorted(self.judged.rights) if right != self.judged.mode]
        return f"{verb} {self.judged.target}" + (f", with {', '.join(others)}" if others else "")

    def _say(self, reason: str, message: str, about: list[Json]) -> None:
        workload = self._workload()
        for one in [*about, *([workload] if workload else [])]:
            if f"{reason} {one['uid']}" not in self._told:
                self._told.add(f"{reason} {one['uid']}")
                self.words.tell(self.judged.namespace, self._event(one, reason, message))

    def _workload(self) -> Json | None:
        if self.judged.workload is None:
            return None
        version, kind, name, uid = self.judged.workload
        namespace = self.judged.namespace
        return {"apiVersion": version, "kind": kind, "namespace": namespace, "name": name, "uid": uid}

    def _event(self, about: Json, reason: str, message: str) -> Json:
        """core/v1 Event. Its name says what it is about, so that agents of several nodes say it once of a workload."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        name = f"{about['name'][:180]}.{self.judged.uid[:8]}.{about['uid'][:8]}.{reason.lower()}"
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": self.judged.namespace},
            "involvedObject": about,
            "reason": reason,
            "message": message[:1024],
            "type": "Normal",
            "source": {"component": COMPONENT, "host": self.words.node},
            "reportingComponent": COMPONENT,
            "reportingInstance": self.words.node,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }

    def _record(self, reason: str, done: Counters, seconds: float) -> None:
        judged = self.judged
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "session": f"{judged.namespace}/{judged.name}",
            "author": judged.author,
            "target": judged.target,
            "mode": judged.mode,
            "rights": sorted(judged.rights),
            "used": sorted(self.used),
            "pods": sorted({one["name"] for one in self._objects.values()}),
            "node": self.words.node,
            "connections": done.connections,
            "datagrams": done.datagrams,
            "bytes": done.bytes,
            "seconds": round(seconds, 3),
            "end": reason,
        }
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
